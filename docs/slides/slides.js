"use strict";
// Each section is one topic: cut it into slides of 1280 x 720, then turn them by keys or clicks.
const main = document.querySelector("main");
const bodyOf = (section) => section.querySelector(".body");
const isFull = (section) => {
  const body = bodyOf(section);
  return body.scrollHeight > body.clientHeight + 1 || body.scrollWidth > body.clientWidth + 1;
};

function nextSlide(section) {
  const next = section.cloneNode(true);
  bodyOf(next).replaceChildren();
  section.after(next);
  return next;
}

// What of a block can go to another slide: rows of a table but not its head, items of a list.
function partsOf(block) {
  const rows = [...block.querySelectorAll("tbody > tr")].filter((row) => row.querySelector("td"));
  return rows.length ? rows : [...block.querySelectorAll("li")].filter((item) => !item.parentElement.closest("li"));
}

// Keep of a block what fits its slide and return the rest, or null where nothing can be cut.
function cut(block, section) {
  if (block.matches("pre")) return cutLines(block, section);
  const parts = partsOf(block), rest = block.cloneNode(true), restParts = partsOf(rest);
  let kept = parts.length;
  while (kept > 1 && isFull(section)) parts[--kept].remove();
  restParts.slice(0, kept).forEach((part) => part.remove());
  return kept < parts.length ? rest : null;
}

function cutLines(block, section) {
  const lines = block.innerHTML.split("\n");
  let kept = lines.length;
  while (kept > 1 && isFull(section)) block.innerHTML = lines.slice(0, --kept).join("\n");
  const rest = block.cloneNode(false);
  rest.innerHTML = lines.slice(kept).join("\n");
  return kept < lines.length ? rest : null;
}

// A picture much taller than wide is shown in windows at a readable size, each a little over the last one.
function windowsOf(block) {
  const image = block.matches("figure:not(.window)") && block.querySelector("img");
  if (!image) return [block];
  const shape = (image.getAttribute("height") || image.naturalHeight) / (image.getAttribute("width") || image.naturalWidth);
  if (shape < 1.5) return [block];
  const height = 620 * shape;
  const count = Math.ceil((height - 40) / 500);
  return Array.from({ length: count }, (_, number) => {
    const part = block.cloneNode(true);
    part.className = number < count - 1 ? "window goes-on" : "window";
    part.firstElementChild.style.marginTop = `-${number * 500}px`;
    return part;
  });
}

// A picture may give up some of its height to stay beside its code.
function makeRoom(group, section) {
  const picture = group.querySelector("figure > img, figure > svg");
  if (!picture) return;
  const body = bodyOf(section), height = picture.getBoundingClientRect().height;
  const left = height - (body.scrollHeight - body.clientHeight);
  if (left >= 0.6 * height) picture.style.setProperty("max-height", `${left}px`);
}

function groupOf(blocks) {
  const group = document.createElement("div");
  group.className = "group";
  group.append(...blocks);
  return group;
}

function cutTopic(section) {
  const waiting = [...bodyOf(section).children];
  bodyOf(section).replaceChildren();
  while (waiting.length) {
    const group = waiting.shift(), blocks = [...group.children];
    const pieces = blocks.flatMap(windowsOf);
    if (pieces.length > blocks.length) {
      waiting.unshift(...pieces.map((piece) => groupOf([piece])));
      continue;
    }
    const isFirst = !bodyOf(section).children.length;
    bodyOf(section).append(group);
    if (bodyOf(section).scrollWidth > bodyOf(section).clientWidth) group.classList.add("tight"); // breaks long names
    if (!isFull(section)) continue;
    if (!isFirst) {
      group.remove();
      section = nextSlide(section);
      waiting.unshift(group);
      continue;
    }
    makeRoom(group, section);
    if (!isFull(section)) continue;
    if (blocks.length > 1) {
      group.remove();
      waiting.unshift(...blocks.map((block) => groupOf([block])));
      continue;
    }
    const rest = cut(blocks[0], section);
    if (!rest) continue;
    waiting.unshift(groupOf([rest]));
    section = nextSlide(section);
  }
}

function turn() {
  const slides = [...main.children];
  let now = 0;
  const fit = () => {
    const scale = Math.min(innerWidth / 1280, innerHeight / 720);
    for (const slide of slides) {
      slide.style.transform = `translate(${(innerWidth - 1280 * scale) / 2}px, ${(innerHeight - 720 * scale) / 2}px) scale(${scale})`;
    }
  };
  const show = (number) => {
    slides[now].classList.remove("now");
    now = Math.max(0, Math.min(slides.length - 1, number));
    slides[now].classList.add("now");
    document.querySelector("output").textContent = ` ${now + 1} / ${slides.length} `;
    history.replaceState(null, "", `#${now + 1}`);
  };
  slides.forEach((slide, number) => {
    const mark = document.createElement("div");
    mark.className = "number";
    mark.textContent = `${number + 1} / ${slides.length}`;
    slide.append(mark);
  });
  const steps = { ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1 };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Home") show(0);
    else if (event.key === "End") show(slides.length - 1);
    else if (event.key in steps && event.target.tagName !== "BUTTON") show(now + steps[event.key]);
    else return;
    event.preventDefault();
  });
  main.addEventListener("click", (event) => {
    if (!event.target.closest("a") && !String(getSelection())) show(now + (event.clientX < innerWidth / 3 ? -1 : 1));
  });
  document.querySelector("#back").addEventListener("click", () => show(now - 1));
  document.querySelector("#on").addEventListener("click", () => show(now + 1));
  addEventListener("hashchange", () => show(Number(location.hash.slice(1)) - 1 || 0));
  addEventListener("resize", fit);
  document.body.classList.add("turning");
  fit();
  show(Number(location.hash.slice(1)) - 1 || 0);
}

addEventListener("load", () => {
  [...main.children].forEach(cutTopic);
  // Counted for the tests: slides of which something is cut off.
  const full = [...main.children].filter(isFull);
  document.documentElement.dataset.slides = main.children.length;
  document.documentElement.dataset.full = full.length;
  full.forEach((slide) => slide.classList.add("full"));
  turn();
});
