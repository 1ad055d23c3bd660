"use strict";
// Light or dark: what the system prefers until the button says otherwise. Figures follow.

const DATA = JSON.parse(document.getElementById("page-data").textContent);
const REDUCED = window.matchMedia("(prefers-reduced-motion: reduce)");
const PREFERS_DARK = window.matchMedia("(prefers-color-scheme: dark)");
const ROOT = document.documentElement;
let printing = false;

function scheme() {
  if (printing) return "light";
  return ROOT.dataset.scheme || (PREFERS_DARK.matches ? "dark" : "light");
}

// Roles such as "@train" become the colours of the present scheme.
function themed(value) {
  const palette = DATA.palette[scheme()];
  const turn = (part) => {
    if (typeof part === "string") return part[0] === "@" && palette[part.slice(1)] || part;
    if (Array.isArray(part)) return part.map(turn);
    if (part && typeof part === "object") {
      return Object.fromEntries(Object.entries(part).map(([key, inner]) => [key, turn(inner)]));
    }
    return part;
  };
  return turn(value);
}

function colour(role) {
  return DATA.palette[scheme()][role] || role;
}

function paintChips() {
  for (const chip of document.querySelectorAll("[data-role]")) chip.style.color = colour(chip.dataset.role);
}

function labelSchemeButton(button) {
  const dark = scheme() === "dark";
  button.textContent = dark ? "Light colours" : "Dark colours";
}

function startScheme(redraw) {
  const button = document.getElementById("scheme");
  const changed = () => {
    labelSchemeButton(button);
    paintChips();
    redraw();
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    ROOT.dataset.scheme = scheme() === "dark" ? "light" : "dark";
    changed();
  });
  PREFERS_DARK.addEventListener("change", changed);
  window.addEventListener("beforeprint", () => { printing = true; changed(); });
  window.addEventListener("afterprint", () => { printing = false; changed(); });
  labelSchemeButton(button);
  paintChips();
}
