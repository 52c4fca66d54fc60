"use strict";
// Masks are painted on frames, with a mouse, a finger, a pen or keys, and downloaded as one zip file of PNG files.
// A mask is an array of bytes of its own, and files are written byte by byte: what browsers do to canvases against
// fingerprinting can't change it.
(() => {
  const UNDOS = 50;
  const TINT = [255, 64, 160, 130];
  const UTF8 = 0x800; // a zip entry's flag
  const TALLEST = 75; // percent of the window that a frame may fill

  function start(drawing) {
    const find = (name) => drawing.querySelector(`[data-part=${name}]`);
    const canvas = find("canvas"), size = find("size"), erase = find("erase"), told = find("told");
    const context = canvas.getContext("2d");
    const layer = document.createElement("canvas");
    const frames = [...drawing.querySelectorAll("img")].map((image) => ({
      image,
      name: image.dataset.name,
      width: image.naturalWidth,
      height: image.naturalHeight,
      mask: new Uint8Array(image.naturalWidth * image.naturalHeight),
      before: [],
    }));
    let current = 0, brush = null, stroke = null, unsaved = false;

    const frame = () => frames[current];
    const drawn = () => frames.filter(({ mask }) => mask.includes(255));

    function show() {
      const { image, name, width, height, mask } = frame();
      context.drawImage(image, 0, 0);
      const tinted = new ImageData(width, height);
      mask.forEach((value, place) => value && tinted.data.set(TINT, 4 * place));
      layer.getContext("2d").putImageData(tinted, 0, 0);
      context.drawImage(layer, 0, 0);
      if (brush) ring(brush);
      const share = mask.reduce((sum, value) => sum + (value > 0), 0) / mask.length;
      told.textContent =
        `frame ${current + 1} of ${frames.length} · ${name} · ${(100 * share).toFixed(1)} % painted · ` +
        `masks drawn: ${drawn().length}`;
      find("undo").disabled = !frame().before.length;
      find("clear").disabled = !share;
      find("previous").disabled = current === 0;
      find("next").disabled = current === frames.length - 1;
      find("download").disabled = !drawn().length;
    }

    function ring({ x, y }) {
      for (const [color, width] of [["#000", 3], ["#fff", 1]]) {
        context.strokeStyle = color;
        context.lineWidth = (width * canvas.width) / (canvas.clientWidth || canvas.width);
        context.beginPath();
        context.arc(x, y, Number(size.value) / 2, 0, 2 * Math.PI);
        context.stroke();
      }
    }

    function go(to) {
      current = Math.max(0, Math.min(frames.length - 1, to));
      const { width, height } = frame();
      [canvas, layer].forEach((one) => Object.assign(one, { width, height }));
      canvas.style.width = `min(100%, ${(TALLEST * width) / height}vh)`;
      show();
    }

    function keep() {
      frame().before.push(frame().mask.slice());
      if (frame().before.length > UNDOS) frame().before.shift();
    }

    function undo() {
      if (frame().before.length) frame().mask = frame().before.pop();
      show();
    }

    function clear() {
      keep();
      frame().mask.fill(0);
      show();
    }

    function stamp({ x, y }) {
      const { width, height, mask } = frame();
      const radius = Number(size.value) / 2, value = erase.checked ? 0 : 255;
      for (let row = Math.max(0, Math.floor(y - radius)); row < Math.min(height, y + radius); row++)
        for (let column = Math.max(0, Math.floor(x - radius)); column < Math.min(width, x + radius); column++) {
          const middle = Math.hypot(column + 0.5 - x, row + 0.5 - y) <= radius;
          const under = column === Math.floor(x) && row === Math.floor(y); // however small the brush
          if (middle || under) mask[row * width + column] = value;
        }
      unsaved = true;
    }

    function line(from, to) {
      const steps = Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / Math.max(0.5, Number(size.value) / 6));
      for (let step = 0; step <= steps; step++) {
        const share = steps ? step / steps : 0;
        stamp({ x: from.x + share * (to.x - from.x), y: from.y + share * (to.y - from.y) });
      }
    }

    function place(event) {
      const box = canvas.getBoundingClientRect();
      return {
        x: ((event.clientX - box.left) * canvas.width) / box.width,
        y: ((event.clientY - box.top) * canvas.height) / box.height,
      };
    }

    function resize(by) {
      size.value = Number(size.value) + by * Math.max(1, Math.round(Number(size.value) / 8));
      show();
    }

    canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      keep();
      stroke = brush = place(event);
      line(stroke, stroke);
      show();
    });
    window.addEventListener("pointermove", (event) => {
      if (!stroke && event.target !== canvas) {
        if (brush && document.activeElement !== canvas) brush = null;
        else return;
        return show();
      }
      brush = place(event);
      if (stroke) line(stroke, brush);
      if (stroke) stroke = brush;
      show();
    });
    for (const end of ["pointerup", "pointercancel"]) window.addEventListener(end, () => (stroke = null));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      resize(event.deltaY < 0 ? 1 : -1);
    }, { passive: false });

    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    canvas.addEventListener("keydown", (event) => {
      const middle = { x: canvas.width / 2, y: canvas.height / 2 };
      if (event.key in arrows) {
        const [x, y] = arrows[event.key], by = Math.max(1, Number(size.value) / 4), from = brush ?? middle;
        brush = {
          x: Math.max(0, Math.min(canvas.width, from.x + by * x)),
          y: Math.max(0, Math.min(canvas.height, from.y + by * y)),
        };
        if (event.shiftKey) {
          keep();
          line(from, brush);
        }
      } else if (event.key === " " || event.key === "Enter") {
        keep();
        brush ??= middle;
        line(brush, brush);
      } else return;
      event.preventDefault();
      show();
    });
    const keys = {
      n: () => go(current + 1),
      p: () => go(current - 1),
      z: undo,
      e: () => (erase.checked = !erase.checked),
      "+": () => resize(1),
      "-": () => resize(-1),
    };
    window.addEventListener("keydown", (event) => {
      const act = keys[event.key.toLowerCase()];
      const others = event.altKey || (event.key.toLowerCase() !== "z" && (event.ctrlKey || event.metaKey));
      if (!act || others) return;
      event.preventDefault();
      act();
    });

    find("previous").addEventListener("click", () => go(current - 1));
    find("next").addEventListener("click", () => go(current + 1));
    find("undo").addEventListener("click", undo);
    find("clear").addEventListener("click", clear);
    size.addEventListener("input", show);
    find("download").addEventListener("click", () => {
      const files = drawn().map(({ name, width, height, mask }) => [`${name}.png`, png(width, height, mask)]);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([zip(files)], { type: "application/zip" }));
      link.download = "masks.zip";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
      unsaved = false;
    });
    window.addEventListener("beforeunload", (event) => unsaved && event.preventDefault());
    size.max = Math.ceil(frame().width / 3);
    size.value = Math.max(2, Math.round(frame().width / 24));
    drawing.hidden = false;
    go(0);
  }

  // --- files: PNG (grey, 8 bits) and zip, both without compression ---------------------------------------------------

  const TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
    return value;
  });

  function crc(bytes) {
    let sum = -1;
    for (const byte of bytes) sum = TABLE[(sum ^ byte) & 255] ^ (sum >>> 8);
    return ~sum >>> 0;
  }

  function adler(bytes) {
    let low = 1, high = 0;
    for (const byte of bytes) {
      low = (low + byte) % 65521;
      high = (high + low) % 65521;
    }
    return ((high << 16) | low) >>> 0;
  }

  function joined(parts) {
    const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
    parts.reduce((offset, part) => (whole.set(part, offset), offset + part.length), 0);
    return whole;
  }

  // Numbers as [bytes, value] pairs, lowest byte first.
  const little = (...pairs) =>
    Uint8Array.from(pairs.flatMap(([count, value]) => Array.from({ length: count }, (_, at) => (value >>> (8 * at)) & 255)));
  const big = (value) => little([4, value]).reverse();
  const ascii = (text) => new TextEncoder().encode(text);

  function png(width, height, grey) {
    const chunk = (kind, data) => {
      const body = joined([ascii(kind), data]);
      return joined([big(data.length), body, big(crc(body))]);
    };
    const rows = new Uint8Array((width + 1) * height); // each begins with a zero: no filter
    for (let row = 0; row < height; row++) rows.set(grey.subarray(row * width, (row + 1) * width), row * (width + 1) + 1);
    const blocks = [];
    for (let from = 0; from < rows.length; from += 65535) {
      const block = rows.subarray(from, from + 65535);
      blocks.push(little([1, Number(from + 65535 >= rows.length)], [2, block.length], [2, ~block.length]), block);
    }
    const head = joined([big(width), big(height), Uint8Array.of(8, 0, 0, 0, 0)]);
    const data = joined([Uint8Array.of(0x78, 0x01), ...blocks, big(adler(rows))]);
    const signature = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10);
    return joined([signature, chunk("IHDR", head), chunk("IDAT", data), chunk("IEND", new Uint8Array())]);
  }

  function zip(files) {
    const bodies = [], entries = [];
    let offset = 0;
    for (const [name, data] of files) {
      const path = ascii(name), day = (1 << 5) | 1; // 1980-01-01, the first there is
      const common = little([2, 20], [2, UTF8], [2, 0], [2, 0], [2, day], [4, crc(data)], [4, data.length], [4, data.length], [2, path.length], [2, 0]);
      const body = joined([little([4, 0x04034b50]), common, path, data]);
      entries.push(joined([little([4, 0x02014b50], [2, 20]), common, little([2, 0], [2, 0], [2, 0], [4, 0], [4, offset]), path]));
      bodies.push(body);
      offset += body.length;
    }
    const directory = joined(entries);
    const end = little([4, 0x06054b50], [2, 0], [2, 0], [2, files.length], [2, files.length], [4, directory.length], [4, offset], [2, 0]);
    return joined([...bodies, directory, end]);
  }

  window.addEventListener("load", () => document.querySelectorAll(".drawing").forEach(start)); // pictures are loaded
})();
