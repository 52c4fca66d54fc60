"use strict";
// Plays an episode: every layer (frame, saliency maps, masks) is one sheet of pictures, drawn piece by piece on a canvas.
// Without this script the page shows the strips of still pictures alone.
(() => {
  function start(player) {
    const source = JSON.parse(document.getElementById(player.dataset.source).textContent);
    const views = [...player.querySelectorAll(".views > div")].map((view) => [
      view.querySelector("canvas").getContext("2d"),
      view.querySelector("img"),
    ]);
    const slider = player.querySelector("input[type=range]");
    const output = player.querySelector("output");
    const cursors = player.querySelectorAll(".cursor");

    function show() {
      const index = Number(slider.value);
      views.forEach(([context, sheet]) => paint(context, sheet, index, source));
      output.textContent =
        `step ${source.steps[index]} of ${source.length} · ${source.symbol} ${source.values[index].toFixed(1)} · ` +
        `${source.total} so far ${source.returns[index].toFixed(source.digits)}` +
        (source.notes[index] && ` · ${source.notes[index]}`);
      slider.setAttribute("aria-valuetext", output.textContent);
      for (const cursor of cursors) {
        cursor.setAttribute("x1", source.cursor[index]);
        cursor.setAttribute("x2", source.cursor[index]);
      }
    }

    transport(player, show);
    for (const toggle of player.querySelectorAll("input[type=checkbox]")) {
      const view = player.querySelector(`.views > [data-layer=${toggle.dataset.layer}]`);
      toggle.addEventListener("change", () => (view.hidden = !toggle.checked));
    }
    player.hidden = false;
    show();
  }

  window.addEventListener("load", () => document.querySelectorAll(".player").forEach(start)); // pictures are loaded
})();
