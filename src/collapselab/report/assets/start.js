// Everything begins here, once the page is there.

startBar();
startScheme(() => {
  drawAll();
  STATES.forEach((state) => state.element && drawSpace(state));
});
startChoosers();
startFrames();
drawAll();
