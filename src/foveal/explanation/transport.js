"use strict";
// What every player of a page has: a slider over moments, a button that plays them, and sheets of pictures.
const PICTURES_PER_SECOND = 12;

// One picture of a sheet that has so many in a row, on a canvas of its size.
function paint(context, sheet, index, { width, height, columns }) {
  const x = (index % columns) * width;
  const y = Math.floor(index / columns) * height;
  context.drawImage(sheet, x, y, width, height, 0, 0, width, height);
}

function transport(player, show) {
  const slider = player.querySelector("input[type=range]");
  const button = player.querySelector("button");
  let timer = null;

  const atEnd = () => Number(slider.value) >= Number(slider.max);

  function pause() {
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
  }

  function advance() {
    slider.value = Number(slider.value) + 1;
    show();
    if (atEnd()) pause();
  }

  function play() {
    if (atEnd()) slider.value = 0;
    timer = setInterval(advance, 1000 / PICTURES_PER_SECOND);
    button.textContent = "Pause";
    show();
  }

  button.addEventListener("click", () => (timer === null ? play() : pause()));
  slider.addEventListener("input", () => {
    pause();
    show();
  });
}
