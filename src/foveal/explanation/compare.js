"use strict";
// Two views beside each other: each side shows a policy under a condition, as it saw it or with a map over it.
// Both show the same agent step. A chart's link with data-condition turns both sides to that condition.
(() => {
  function start(player) {
    const source = JSON.parse(document.getElementById(player.dataset.source).textContent);
    const sides = [...player.querySelectorAll(".side")].map((side) => sideOf(side, source, show));
    const slider = player.querySelector("input[type=range]");

    function show() {
      const step = Number(slider.value) * source.apart;
      slider.setAttribute("aria-valuetext", `step ${step}`);
      sides.forEach((side) => side.show(step));
    }

    transport(player, show);
    for (const link of document.querySelectorAll("a[data-condition]")) {
      link.addEventListener("click", (event) => {
        event.preventDefault(); // which would take the focus away
        sides.forEach((side) => side.turn(link.dataset.condition));
        show();
        document.getElementById("player").scrollIntoView();
        slider.focus({ preventScroll: true });
      });
    }
    player.hidden = false;
    show();
  }

  function sideOf(side, source, changed) {
    const choices = {};
    for (const select of side.querySelectorAll("select")) {
      choices[select.dataset.choice] = select;
      select.addEventListener("change", changed);
    }
    const canvas = side.querySelector("canvas");
    const context = canvas.getContext("2d");
    const output = side.querySelector("output");
    const chosen = (name) => (choices[name] ? Number(choices[name].value) : 0);
    const named = (name) => (choices[name] ? choices[name].selectedOptions[0].textContent : "");

    function show(step) {
      const film = source.films[chosen("policy")][chosen("condition")];
      const layer = film.sheets[chosen("layer")] === undefined ? 0 : chosen("layer");
      const index = Math.max(0, film.steps.filter((one) => one <= step).length - 1);
      if (canvas.width !== film.width || canvas.height !== film.height) {
        canvas.width = film.width;
        canvas.height = film.height;
      }
      paint(context, document.getElementById(film.sheets[layer]), index, film);
      const ended = step >= film.length ? ` · ended after ${film.length} steps` : "";
      const lacking = layer === chosen("layer") ? "" : " · it has no such map";
      output.textContent = `step ${film.steps[index]} · ${source.total} so far ${film.totals[index].toFixed(1)}${ended}${lacking}`;
      canvas.setAttribute("aria-label", [named("policy"), named("condition"), named("layer")].filter(Boolean).join(", "));
    }

    return { show, turn: (condition) => (choices.condition.value = condition) };
  }

  window.addEventListener("load", () => document.querySelectorAll(".compare").forEach(start)); // pictures are loaded
})();
