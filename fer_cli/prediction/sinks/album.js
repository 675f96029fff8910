"use strict";
// Works on what the page holds: text is only ever set as text, and nothing is fetched.
const by = id => document.getElementById(id);
const root = document.documentElement, theme = by("theme");
const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
const nameTheme = () => { theme.textContent = isDark() ? "Light theme" : "Dark theme"; };
theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; nameTheme(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", nameTheme);
nameTheme();
theme.hidden = by("controls").hidden = false;

const cards = [...document.querySelectorAll(".card")];
const facts = new Map(cards.map(card => [card, {n: +card.dataset.n, c: +card.dataset.c, e: card.dataset.e, p: card.dataset.p}]));
const groups = by("groups"), chosen = id => by(id) ? by(id).value : "";
const orders = {
  least: (a, b) => a.c - b.c || a.n - b.n,
  most: (a, b) => b.c - a.c || a.n - b.n,
  file: (a, b) => a.n - b.n,
};
let shown = cards, current = null;

const heading = (level, option, count) => {
  const found = document.createElement(level), name = document.createElement("bdi"), number = document.createElement("span");
  if (option.dataset.hue) {
    const key = document.createElement("span");
    key.className = "key k" + option.dataset.hue;
    key.setAttribute("aria-hidden", "true");
    found.append(key);
  }
  name.textContent = option.textContent;
  number.textContent = count + (count === 1 ? " face" : " faces");
  found.append(name, number);
  return found;
};
const list = members => {
  const found = document.createElement("ul");
  found.className = "gallery";
  found.append(...members);
  return found;
};
// Each option of a select with those of the cards that have its value, those without any not.
const divided = (id, key, members) => {
  const values = new Map();
  for (const card of members) {
    const value = facts.get(card)[key];
    if (!values.has(value)) values.set(value, []);
    values.get(value).push(card);
  }
  return [...by(id).options].filter(option => values.has(option.value)).map(option => [option, values.get(option.value)]);
};
const byExpression = (level, members) => {
  const parts = document.createElement("div");
  parts.className = "by";
  for (const [option, found] of divided("expression", "e", members)) {
    const part = document.createElement("div");
    part.append(heading(level, option, found.length), list(found));
    parts.append(part);
  }
  return parts;
};

const arrange = () => {
  const expression = chosen("expression"), person = chosen("person"), group = chosen("group");
  const order = orders[chosen("sort")] || orders.least;
  const members = cards.filter(card => (!expression || facts.get(card).e === expression) && (!person || facts.get(card).p === person))
    .sort((a, b) => order(facts.get(a), facts.get(b)));
  if (groups) {
    groups.replaceChildren(...(
      group === "pe" ? divided("person", "p", members).flatMap(([option, found]) => [heading("h3", option, found.length), byExpression("h4", found)])
        : group === "e" ? [byExpression("h4", members)] : [list(members)]));
  }
  shown = [...document.querySelectorAll(".card")];
  for (const track of document.querySelectorAll(".track")) track.hidden = Boolean(person) && track.dataset.p !== person;
  for (const peak of document.querySelectorAll(".peaks li")) peak.hidden = Boolean(expression) && peak.dataset.e !== expression;
  by("status").textContent = cards.length ? shown.length + " of " + cards.length + " faces." : "";
  stop(shown[0]);
};
// One card is in the order of the tab key, the others are reached from it.
const stop = card => {
  if (current) current.tabIndex = -1;
  current = card || null;
  if (current) current.tabIndex = 0;
};
const go = card => {
  if (!card) return;
  stop(card);
  card.focus();
  card.scrollIntoView({block: "nearest"});
};
const vertical = (place, step) => {
  const from = shown[place].getBoundingClientRect();
  let best = null, row = null;
  for (let at = place + step; at >= 0 && at < shown.length; at += step) {
    const box = shown[at].getBoundingClientRect();
    if (Math.abs(box.top - from.top) < 4) continue;
    if (row !== null && Math.abs(box.top - row) >= 4) break;
    row = box.top;
    const off = Math.abs(box.left - from.left);
    if (!best || off < best.off) best = {off, card: shown[at]};
  }
  return best && best.card;
};
addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, input, textarea")) return;
  const on = event.target.closest(".card"), place = on ? shown.indexOf(on) : -1;
  let to;
  if (event.key === "j") to = on ? shown[place + 1] : current;
  else if (event.key === "k") to = on ? shown[place - 1] : current;
  else if (!on) return;
  else if (event.key === "ArrowRight") to = shown[place + 1];
  else if (event.key === "ArrowLeft") to = shown[place - 1];
  else if (event.key === "ArrowDown") to = vertical(place, 1);
  else if (event.key === "ArrowUp") to = vertical(place, -1);
  else if (event.key === "Home") to = shown[0];
  else if (event.key === "End") to = shown[shown.length - 1];
  else return;
  event.preventDefault();
  go(to);
});
by("controls").addEventListener("change", arrange);
by("controls").addEventListener("submit", event => event.preventDefault());
for (const card of cards) card.tabIndex = -1;
if (groups) groups.addEventListener("focusin", event => { const card = event.target.closest(".card"); if (card) stop(card); });
arrange();
