"""The words of the drawn captions: templates, scenery, clutter, and per class its variants and its hard negatives.

Variants mean the class without containing its name as a word of its own. Hard negatives contain the letters or the
word and do not mean it; none of them describes an object of the class.
"""

from __future__ import annotations

TEMPLATES = (
    "a photo of {things} in the {context}",
    "{things} in the {context}",
    "there is {things} in the {context}",
    "a picture of {things} by the {context}",
    "the {context} with {things}",
)
SCENERY = ("a photo of the {context}", "a view of the {context}", "the {context} in the morning", "the quiet {context}")
CLUTTER = (
    "{} stock photo", "{} - royalty free", "{}, 2019", "hd wallpaper: {}", "{} #nature #nofilter", "IMG_2041 {}",
    "{} | free download", "best of: {}",
)  # fmt: skip

VARIANTS = {
    "aeroplane": ("an airplane", "airplanes", "a jet"),
    "bicycle": ("a bike", "bicycles", "a push-bike"),
    "bird": ("birds", "a sparrow", "a songbird"),
    "boat": ("boats", "a rowboat", "a dinghy"),
    "bottle": ("bottles", "a flask", "a flagon"),
    "bus": ("buses", "a minibus", "a double-decker"),
    "car": ("cars", "an automobile", "a sedan"),
    "cat": ("cats", "a kitten", "a tomcat"),
    "chair": ("chairs", "an armchair", "a stool"),
    "cow": ("cows", "cattle", "a heifer"),
    "diningtable": ("diningtables", "a kitchen table", "a dinner table"),
    "dog": ("dogs", "a puppy", "a terrier"),
    "horse": ("horses", "a pony", "a racehorse"),
    "motorbike": ("motorbikes", "a motorcycle", "a moped"),
    "person": ("people", "a man", "a woman"),
    "pottedplant": ("potted plants", "a houseplant", "a pot plant"),
    "sheep": ("lambs", "a lamb", "a ewe"),
    "sofa": ("a couch", "sofas", "a settee"),
    "train": ("a railway carriage", "trains", "a locomotive"),
    "tvmonitor": ("a tv", "tvs", "a television set"),
}

NEGATIVES = {
    "aeroplane": ("from the aerospace museum", "on a plain day"),
    "bicycle": ("made of recycled paper", "seen from the bike lane"),
    "bird": ("near Birdlip", "in the hall of a birdcage maker"),
    "boat": ("outside the boathouse", "at the Boatwright shop"),
    "bottle": ("at the bottleneck", "to bottle up a feeling"),
    "bus": ("on a busy day", "from a business trip"),
    "car": ("printed on cardboard", "on a carpet"),
    "cat": ("from the catalogue", "of this category"),
    "chair": ("said the chairman", "to chair a meeting"),
    "cow": ("said a coward", "seen by a coworker"),
    "diningtable": ("after dining out", "from a table of contents"),
    "dog": ("a matter of dogma", "in dogged rain"),
    "horse": ("with horseradish", "at full horsepower"),
    "motorbike": ("near the motorway", "for motor skills"),
    "person": ("for personal use", "by personnel"),
    "pottedplant": ("behind a plant", "near the power plant", "where she plants a flag"),
    "sheep": ("with a sheepish look", "printed on sheepskin"),
    "sofa": ("taken in Sofia", "seen so far"),
    "train": ("during training", "near the train station", "to train the eye"),
    "tvmonitor": ("as they monitor the road", "while he monitors the weather"),
}
