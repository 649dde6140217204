// Adds what cannot work without a script: opacity sliders, tables that can be sorted, and details that open for printing
// and for links into them.
"use strict";
for (const element of document.querySelectorAll(".with-script")) element.hidden = false;

for (const card of document.querySelectorAll(".card")) {
  const ground = card.querySelector(".photo img");
  const labels = card.querySelectorAll(".truth img, .prediction img");
  const slider = card.querySelector(".slider");
  if (!slider || !ground || !labels.length) continue; // nothing to fade, or nothing underneath
  for (const label of labels) {
    const copy = ground.cloneNode();
    copy.alt = "";
    label.classList.add("label");
    label.parentElement.prepend(copy);
  }
  const input = slider.querySelector("input");
  const fade = () => {
    for (const label of labels) label.style.opacity = input.value / 100;
    input.setAttribute("aria-valuetext", `labels at ${input.value} percent`);
  };
  input.addEventListener("input", fade);
  fade(); // a browser may bring back an older value with the page
  slider.hidden = false;
}

// Sorting: the heads of the columns become buttons. First press: numbers from the highest, words from A; second press:
// the other way round; third: the order of the page. Rows move, nothing in them changes. What is absent stays last, a row
// keeps the details below it, and a table body (limited runs) keeps its place.
const words = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
const live = document.createElement("p");
live.className = "visually-hidden";
live.setAttribute("role", "status");
document.querySelector("main").append(live);

function say(text) {
  live.textContent = ""; // so that the same sentence is spoken again
  requestAnimationFrame(() => (live.textContent = text));
}

// The heads that stand directly above a column, by the column's number; spans of rows and columns are laid out first.
function headsOf(table) {
  const grid = [...table.tHead.rows].map(() => []);
  [...table.tHead.rows].forEach((row, y) => {
    let x = 0;
    for (const head of row.cells) {
      while (grid[y][x]) x += 1;
      for (let down = 0; down < head.rowSpan && y + down < grid.length; down += 1)
        for (let along = 0; along < head.colSpan; along += 1) grid[y + down][x + along] = head;
      x += head.colSpan;
    }
  });
  return grid[grid.length - 1];
}

// What a row is sorted by: its number, else its words; null for a dash and for a drawing.
function standing(row, column) {
  let x = 0;
  for (const cell of row.cells) {
    if (x === column) {
      const number = cell.querySelector("data");
      if (number) return Number(number.value);
      const text = cell.textContent.trim().replace(/(\d),(?=\d{3})/g, "$1");
      return text === "" || text.startsWith("–") ? null : text;
    }
    x += cell.colSpan;
  }
  return null;
}

const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : words.compare(a, b));

// The rows of a body as blocks that stay together: a run and its details. Rows before the first run are no block.
function blocksOf(body) {
  const blocks = [];
  for (const row of body.rows) {
    if (row.matches(".divider")) continue;
    if (row.matches(".inner") && blocks.length) blocks[blocks.length - 1].push(row);
    else blocks.push([row]);
  }
  return blocks;
}

function sortable(table) {
  const bodies = [...table.tBodies].map((body) => ({ body, blocks: blocksOf(body) }));
  if (!table.tHead || !bodies.some(({ blocks }) => blocks.length > 1)) return;
  if (bodies.some(({ blocks }) => blocks.some(([row]) => [...row.cells].some((cell) => cell.rowSpan > 1)))) return;
  const heads = headsOf(table);
  const name = table.caption?.querySelector("b")?.textContent.replace(/[\s.,]+$/, "") || "Table";

  function order(column, sign) {
    for (const { body, blocks } of bodies) {
      const keyed = blocks.map((rows) => ({ rows, key: sign ? standing(rows[0], column) : null }));
      if (sign) keyed.sort((a, b) => (a.key === null) - (b.key === null) || (a.key === null ? 0 : sign * compare(a.key, b.key)));
      body.append(...keyed.flatMap(({ rows }) => rows));
    }
  }

  heads.forEach((head, column) => {
    const keys = bodies.flatMap(({ blocks }) => blocks.map(([row]) => standing(row, column))).filter((key) => key !== null);
    if (head.colSpan > 1 || !keys.length) return;
    const numbers = keys.every((key) => typeof key === "number" || /^[\d.]/.test(key));
    const turns = numbers ? ["descending", "ascending"] : ["ascending", "descending"];
    const said = { descending: numbers ? "highest first" : "from Z to A", ascending: numbers ? "lowest first" : "from A to Z" };
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    const label = button.textContent.trim().replace(/\s+/g, " ");
    button.addEventListener("click", () => {
      const turn = turns[turns.indexOf(head.getAttribute("aria-sort")) + 1];
      for (const other of heads) other.removeAttribute("aria-sort");
      if (turn) head.setAttribute("aria-sort", turn);
      order(column, { descending: -1, ascending: 1 }[turn] ?? 0);
      say(turn ? `${name}: sorted by ${label}, ${said[turn]}; dashes last` : `${name}: the order of the page again`);
    });
  });
}
for (const table of document.querySelectorAll("table.scores, table.sortable")) sortable(table);

let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const item of opened) item.open = true;
});
addEventListener("afterprint", () => {
  for (const item of opened) item.open = false;
});

function named(hash) {
  try {
    return hash.length > 1 ? document.getElementById(decodeURIComponent(hash.slice(1))) : null;
  } catch {
    return null; // no address of this page
  }
}

function reveal() {
  const target = named(location.hash);
  for (let item = target && target.closest("details"); item; item = item.parentElement.closest("details")) item.open = true;
  if (target) target.scrollIntoView();
}
addEventListener("hashchange", reveal);
// A second click on the same link changes no address, and its details may have been closed in between.
addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='#']");
  if (link && link.hash === location.hash) reveal();
});
reveal();
