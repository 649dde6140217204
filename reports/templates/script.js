// Adds what cannot work without a script: opacity sliders, and details that open for printing and for links into them.
"use strict";
for (const element of document.querySelectorAll(".slider, .with-script")) element.hidden = false;

for (const card of document.querySelectorAll(".card")) {
  const photo = card.querySelector(".photo img");
  const labels = card.querySelectorAll(".truth img, .prediction img");
  for (const label of labels) {
    label.classList.add("label");
    if (photo) {
      const ground = photo.cloneNode();
      ground.alt = "";
      label.parentElement.prepend(ground);
    }
  }
  card.querySelector("input").addEventListener("input", (event) => {
    for (const label of labels) label.style.opacity = event.target.value / 100;
  });
}

let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const item of opened) item.open = true;
});
addEventListener("afterprint", () => {
  for (const item of opened) item.open = false;
});

function reveal() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let item = target && target.closest("details"); item; item = item.parentElement.closest("details")) item.open = true;
  if (target) target.scrollIntoView();
}
addEventListener("hashchange", reveal);
reveal();
