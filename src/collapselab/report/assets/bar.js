// The height of the bar that stays at the top, for what must stay clear of it: it has as many lines as it needs.

function startBar() {
  const bar = document.querySelector("nav");
  const root = document.documentElement;
  new ResizeObserver(() => {
    const stays = getComputedStyle(bar).position === "sticky";
    root.style.setProperty("--bar", `${stays ? bar.offsetHeight : 0}px`);
  }).observe(bar);
}
