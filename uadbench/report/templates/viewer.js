"use strict";
(() => {
  // axes of the volume that point right and up in the picture, and the one that crosses it; left is left
  const PLANES = [
    { name: "axial", right: 0, up: 1, across: 2, ends: ["L", "R"] },
    { name: "coronal", right: 0, up: 2, across: 1, ends: ["L", "R"] },
    { name: "sagittal", right: 1, up: 2, across: 0, ends: ["P", "A"] },
  ];
  const PIXELS = 3; // of a canvas, per millimetre

  async function unpacked(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  async function start(root) {
    const data = JSON.parse(root.querySelector("script").textContent);
    const { shape, steps, origin, limit } = data;
    const kinds = ["image", "reconstruction", "map", "outlined"];
    const scans = await Promise.all(data.scans.map(async (scan) => Object.fromEntries(
      await Promise.all(kinds.map(async (kind) => [kind, scan[kind] && (await unpacked(scan[kind]))])))));
    const voxel = [...data.start];
    let scan = scans[0];
    let threshold = data.threshold === null ? limit / 2 : data.threshold;

    const at = (i, j, k) => (i * shape[1] + j) * shape[2] + k;
    const mapped = (level) => data.map.low + level * data.map.step;
    const millimetres = (axis) => origin[axis] + voxel[axis] * steps[axis];
    const field = (name) => root.querySelector(`[data-value="${name}"]`);

    function colour(value) { // red, green, blue, opacity
      if (Math.abs(value) < Math.max(threshold, data.map.step / 2)) return [0, 0, 0, 0];
      const middle = (data.colours.length - 1) / 2;
      return [...data.colours[Math.round(middle * (1 + Math.max(-1, Math.min(1, value / limit))))], 230];
    }
    function grey(level) {
      const value = 255 * (data.image.low + level * data.image.step) / (data.image.top || 1);
      return [value, value, value, 255];
    }
    function slice(plane, volume, paint) { // a canvas with a pixel per voxel
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [shape[plane.right], shape[plane.up]];
      const picture = new ImageData(canvas.width, canvas.height);
      const place = [...voxel];
      for (let row = 0, pixel = 0; row < canvas.height; row++) {
        place[plane.up] = canvas.height - 1 - row;
        for (let column = 0; column < canvas.width; column++, pixel += 4) {
          place[plane.right] = column;
          picture.data.set(paint(volume[at(...place)]), pixel);
        }
      }
      canvas.getContext("2d").putImageData(picture, 0, 0);
      return canvas;
    }
    function outline(context, plane, size) { // the edges between voxels inside and outside
      const place = [...voxel];
      const inside = (a, b) => {
        if (a < 0 || b < 0 || a >= shape[plane.right] || b >= shape[plane.up]) return 0;
        [place[plane.right], place[plane.up]] = [a, b];
        return scan.outlined[at(...place)];
      };
      context.beginPath();
      for (let a = 0; a <= shape[plane.right]; a++) {
        for (let b = 0; b <= shape[plane.up]; b++) {
          const [x, y] = [a * size[0], context.canvas.height - b * size[1]];
          if (inside(a, b) !== inside(a - 1, b)) { context.moveTo(x, y); context.lineTo(x, y - size[1]); }
          if (inside(a, b) !== inside(a, b - 1)) { context.moveTo(x, y); context.lineTo(x + size[0], y); }
        }
      }
      context.strokeStyle = "#56b4e9";
      context.lineWidth = 3;
      context.stroke();
    }
    function draw({ canvas, kind, plane }) {
      const context = canvas.getContext("2d");
      const { width, height } = canvas;
      const size = [width / shape[plane.right], height / shape[plane.up]];
      context.imageSmoothingEnabled = true;
      context.drawImage(slice(plane, scan[kind === "map" ? "image" : kind], grey), 0, 0, width, height);
      if (kind === "map") {
        context.imageSmoothingEnabled = false; // a voxel is above the threshold, or not
        context.drawImage(slice(plane, scan.map, (level) => colour(mapped(level))), 0, 0, width, height);
        if (scan.outlined) outline(context, plane, size);
      }
      const [x, y] = [(voxel[plane.right] + 0.5) * size[0], height - (voxel[plane.up] + 0.5) * size[1]];
      const dot = width / (canvas.clientWidth || width); // of the screen, in pixels of the canvas
      const gap = 5 * dot;
      context.fillStyle = "#7fe57f";
      for (const [from, to] of [[0, x - gap], [x + gap, width]]) context.fillRect(from, y - dot / 2, Math.max(0, to - from), dot);
      for (const [from, to] of [[0, y - gap], [y + gap, height]]) context.fillRect(x - dot / 2, from, dot, Math.max(0, to - from));
      context.font = `bold ${13 * dot}px sans-serif`;
      context.fillStyle = "white";
      context.strokeStyle = "black";
      context.lineWidth = 3 * dot;
      const right = width - 3 * dot - context.measureText(plane.ends[1]).width;
      for (const [letter, left] of [[plane.ends[0], 3 * dot], [plane.ends[1], right]]) {
        context.strokeText(letter, left, 14 * dot);
        context.fillText(letter, left, 14 * dot);
      }
    }
    function update() {
      pictures.forEach(draw);
      const here = at(...voxel);
      const unit = data.image.unit && ` ${data.image.unit}`;
      field("position").textContent = `${[0, 1, 2].map((axis) => millimetres(axis).toFixed(0)).join(", ")} mm`;
      for (const kind of ["image", "reconstruction"]) {
        if (scan[kind]) field(kind).textContent = (data.image.low + scan[kind][here] * data.image.step).toFixed(2) + unit;
      }
      field("map").textContent = `${mapped(scan.map[here]).toFixed(1)} ${data.map.unit}`;
      field("threshold").textContent = `${threshold.toFixed(2)} ${data.map.unit}`;
      for (const slider of root.querySelectorAll("[data-axis]")) {
        slider.value = voxel[slider.dataset.axis];
        slider.setAttribute("aria-valuetext", `${millimetres(slider.dataset.axis).toFixed(0)} mm`);
      }
      root.querySelector("[data-threshold]").value = threshold;
      const scale = root.querySelector(".viewer-scale");
      const line = new ImageData(scale.width, 1);
      const middle = (scale.width - 1) / 2;
      for (let x = 0; x < scale.width; x++) line.data.set(colour((x / middle - 1) * limit), 4 * x);
      scale.getContext("2d").putImageData(line, 0, 0);
    }
    function point(event, plane) {
      const frame = event.currentTarget.getBoundingClientRect();
      const parts = [(event.clientX - frame.left) / frame.width, (frame.bottom - event.clientY) / frame.height];
      [plane.right, plane.up].forEach((axis, place) => {
        voxel[axis] = Math.max(0, Math.min(shape[axis] - 1, Math.floor(parts[place] * shape[axis])));
      });
      update();
    }

    const frame = root.querySelector(".viewer-pictures");
    const shown = ["image", "reconstruction", "map"].filter((kind) => scan[kind]);
    const names = { image: "input", reconstruction: "reconstruction", map: "map on input" };
    for (const kind of shown) frame.append(Object.assign(document.createElement("b"), { textContent: names[kind] }));
    const extents = shape.map((count, axis) => count * steps[axis]);
    const pictures = PLANES.flatMap((plane) => shown.map((kind) => {
      const canvas = document.createElement("canvas");
      canvas.width = PIXELS * extents[plane.right];
      canvas.height = PIXELS * extents[plane.up];
      canvas.style.width = `${100 * extents[plane.right] / Math.max(extents[0], extents[1])}%`;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${names[kind]}, ${plane.name} slice`);
      canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); point(event, plane); });
      canvas.addEventListener("pointermove", (event) => { if (event.buttons) point(event, plane); });
      const cell = document.createElement("div");
      cell.append(canvas);
      frame.append(cell);
      return { canvas, kind, plane };
    }));
    const actions = {
      threshold: () => { threshold = data.threshold; },
      highest: () => {
        const place = scan.map.reduce((best, level, here) => (level > scan.map[best] ? here : best), 0);
        voxel.splice(0, 3, Math.floor(place / shape[1] / shape[2]), Math.floor(place / shape[2]) % shape[1], place % shape[2]);
      },
    };
    root.addEventListener("input", ({ target }) => {
      if ("scan" in target.dataset) scan = scans[target.value];
      else if ("axis" in target.dataset) voxel[target.dataset.axis] = Number(target.value);
      else threshold = Number(target.value);
      update();
    });
    for (const button of root.querySelectorAll("[data-go]")) {
      button.addEventListener("click", () => { actions[button.dataset.go](); update(); });
    }
    window.addEventListener("resize", update);
    update();
  }

  for (const root of document.querySelectorAll(".viewer")) {
    start(root).catch((error) => root.replaceChildren(`The viewer cannot start in this browser: ${error.message}`));
  }
})();
