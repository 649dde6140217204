"""The leakage audit: which unseen classes does a caption corpus name?"""
