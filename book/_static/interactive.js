"use strict";

// Figures that answer.  Behind a figure lie data as JSON (see fmlib.interactive).  Controls made
// of them take the place of the picture, which stays below, folded up.  Whatever comes from data
// is put on the page as text or as pixels, never as markup.
(() => {
  // --- parts that several figures need ------------------------------------------------------

  function make(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  // A sentence that screen readers are told of when it changes.
  const report = () => make("p", { class: "fm-report", role: "status" });

  // A slider over the positions from 0, and beside its name what the position means.
  function slider(name, meanings, start, change) {
    const said = make("span", { class: "fm-value", "aria-hidden": "true" });
    const input = make("input", { type: "range", min: 0, max: meanings.length - 1, step: 1 });
    input.value = start;
    const update = () => {
      said.textContent = meanings[input.value];
      input.setAttribute("aria-valuetext", meanings[input.value]);
      change();
    };
    input.addEventListener("input", update);
    const label = make("label", { class: "fm-slider" }, make("span", {}, name, " ", said), input);
    return { label, update, position: () => Number(input.value) };
  }

  function choice(name, options, change) {
    const select = make("select", {}, ...options.map((text) => make("option", {}, text)));
    select.addEventListener("change", change);
    return { label: make("label", {}, `${name} `, select), position: () => select.selectedIndex };
  }

  const canvas = (width, height, attributes) => make("canvas", { width, height, ...attributes });

  // Levels from 0 to 255, channel by channel, as an image: one channel is grey, three are colours.
  function paint(target, levels, [channels, height, width]) {
    const image = new ImageData(width, height);
    const size = width * height;
    for (let place = 0; place < size; place++) {
      for (let part = 0; part < 3; part++)
        image.data[4 * place + part] = levels[place + size * Math.min(part, channels - 1)];
      image.data[4 * place + 3] = 255;
    }
    target.getContext("2d").putImageData(image, 0, 0);
  }

  const bytes = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

  // --- an image, a perturbation of any size, and what two models see --------------------------

  function perturbation(data) {
    const { classes, models, epsilons, shape } = data;
    const [, height, width] = shape;
    const images = data.images.map((image) => ({ ...image, levels: bytes(image.pixels) }));
    const pictures = ["image", "perturbation", "both added"].map((name) => {
      const drawn = canvas(width, height, { class: "fm-picture", role: "img", "aria-label": name });
      const whole = make("div", {}, drawn, make("span", { "aria-hidden": "true" }, name));
      return { drawn, whole };
    });
    const said = report();
    let chosen = 0;

    const group = make("fieldset", { class: "fm-images" }, make("legend", {}, "Image"));
    const name = `fm-${Math.random().toString(36).slice(2)}`;
    images.forEach((image, number) => {
      const small = canvas(width, height, { class: "fm-small", "aria-hidden": "true" });
      paint(small, image.levels, shape);
      const radio = make("input", { type: "radio", name });
      radio.checked = number === chosen;
      radio.addEventListener("change", () => {
        chosen = number;
        update();
      });
      const text = make("span", {}, classes[image.label]);
      const hidden = make("span", { class: "fm-unseen" }, `${number + 1}: `);
      group.append(make("label", {}, radio, small, hidden, text));
    });

    const gradient = choice("Gradient of", models, () => update());
    const meanings = epsilons.map((eps) => `ε = ${eps.toFixed(2)}`);
    const size = slider("Size", meanings, Math.floor(epsilons.length / 2), () => update());
    const bars = models.map((model) => {
      const bar = make("div", { class: "fm-bar", "aria-hidden": "true" });
      bar.append(...epsilons.map(() => make("span")));
      return { bar, row: make("div", { class: "fm-verdict" }, make("span", {}, model), bar) };
    });

    function update() {
      const image = images[chosen];
      const by = image.by[gradient.position()];
      const step = size.position();
      const signs = Array.from(by.signs, (sign) => "-0+".indexOf(sign) - 1);
      const change = signs.map((sign) => 255 * epsilons[step] * sign);
      const clip = (level) => Math.round(Math.min(255, Math.max(0, level)));
      const sums = change.map((level, place) => clip(image.levels[place] + level));
      const levels = [image.levels, change.map((level) => clip(127.5 + level)), sums];
      pictures.forEach(({ drawn }, number) => paint(drawn, levels[number], shape));
      const name = classes[image.label];
      pictures[0].drawn.setAttribute("aria-label", `unchanged image, class ${name}`);
      pictures[2].drawn.setAttribute("aria-label", `the image perturbed, ${meanings[step]}`);

      const verdicts = models.map((model, judge) => {
        bars[judge].bar.childNodes.forEach((part, place) => {
          part.className = by.seen[judge][place] === image.label ? "fm-right" : "fm-wrong";
          if (place === step) part.classList.add("fm-here");
        });
        const seen = by.seen[judge][step];
        const percent = by.percent[judge][step];
        const sure = percent === null ? "" : ` (${percent} %)`;
        return `${model} sees ${classes[seen]}${sure}, ${seen === image.label ? "right" : "wrong"}`;
      });
      const by_whom = `${meanings[step]} by the gradient of the ${models[gradient.position()]}`;
      said.textContent = `Class ${name}, ${by_whom}: ${verdicts.join("; ")}.`;
    }

    size.update();
    const key = make("p", { class: "fm-key", "aria-hidden": "true" });
    key.append("From the smallest ε to the largest: ", make("span", { class: "fm-right" }));
    key.append(" right, ", make("span", { class: "fm-wrong" }), " wrong.");
    return [
      group, make("div", { class: "fm-controls" }, gradient.label, size.label),
      make("div", { class: "fm-row" }, ...pictures.map(({ whole }) => whole)), said,
      ...bars.map(({ row }) => row), key,
    ];
  }

  // --- the cache after each epoch -------------------------------------------------------------

  // Cosines lie close to 1, so that the axis is logarithmic in the distance from it.
  const nearness = (cosine) => -Math.log10(1.0001 - cosine);
  const TICKS = [0, 0.5, 0.9, 0.99, 0.999];

  function cache({ classes, epochs }) {
    const drawn = epochs.flatMap((epoch) => [...epoch.threshold, ...epoch.similarity]);
    const known = drawn.filter((value) => value !== null).map(nearness);
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const place = (cosine) => 5 + (90 * (nearness(cosine) - low)) / (high - low || 1);
    const put = (mark, cosine) => {
      mark.hidden = cosine === null;
      mark.style.left = `${place(cosine ?? 0)}%`;
    };

    const axis = make("div", { class: "fm-lane", "aria-hidden": "true" });
    for (const tick of TICKS.filter((one) => nearness(one) >= low && nearness(one) <= high)) {
      const text = make("span", { class: "fm-tick" }, String(tick));
      put(text, tick);
      axis.append(text);
    }
    const heads = ["Class", "Threshold", "Similarity", "", "Skipped"];
    const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)));
    head.cells[3].append(make("span", { class: "fm-unseen" }, "Both, drawn"), axis);
    const body = make("tbody");
    const rows = epochs[0].seen.map((_, label) => {
      const marks = ["fm-limit", "fm-dot"].map((name) => make("span", { class: name }));
      const lane = make("div", { class: "fm-lane", "aria-hidden": "true" }, ...marks);
      const cells = [make("td"), make("td"), make("td", {}, lane), make("td")];
      body.append(make("tr", {}, make("th", { scope: "row" }, classes[label]), ...cells));
      return { cells, marks };
    });
    const said = report();
    const meanings = epochs.map((_, number) => `epoch ${number + 1} of ${epochs.length}`);
    const time = slider("After", meanings, 0, update);
    const say = (value) => (value === null ? "–" : value.toFixed(4));
    const sum = (values) => values.reduce((total, value) => total + value, 0);

    function update() {
      const { threshold, similarity, skipped, seen } = epochs[time.position()];
      const shares = seen.map((count, label) => (100 * skipped[label]) / (count || 1));
      const count = (label) => `${skipped[label]} of ${seen[label]}`;
      rows.forEach(({ cells, marks }, label) => {
        cells[0].textContent = say(threshold[label]);
        cells[1].textContent = say(similarity[label]);
        put(marks[0], threshold[label]);
        put(marks[1], similarity[label]);
        cells[3].textContent = count(label);
        cells[3].style.setProperty("--fm-share", `${shares[label]}%`);
      });
      const most = shares.indexOf(Math.max(...shares));
      const least = shares.indexOf(Math.min(...shares));
      said.textContent =
        `In ${meanings[time.position()]} the cache skips ${sum(skipped)} of ${sum(seen)} images: ` +
        `the largest share of class ${classes[most]} (${count(most)}), ` +
        `the smallest of class ${classes[least]} (${count(least)}).`;
    }

    time.update();
    const table = make("table", { class: "fm-table" }, make("thead", {}, head), body);
    const key = make("p", {}, "Drawn are the threshold (bar) and the mean similarity to the ");
    key.append("cached vector of the own class (dot).");
    return [make("div", { class: "fm-controls" }, time.label), said, table, key];
  }

  // --- images in the plane ----------------------------------------------------------------------

  const DIRECTIONS = {
    ArrowLeft: [-1, 0],
    ArrowRight: [1, 0],
    ArrowUp: [0, -1],
    ArrowDown: [0, 1],
  };

  function map({ classes, colours, shape, places, labels, named, sprite }) {
    const [, height, width] = shape;
    const columns = Math.ceil(Math.sqrt(labels.length));
    const sheet = new Image();
    sheet.src = `data:image/png;base64,${sprite}`;
    const scale = 1.1;
    const points = canvas(1000 * scale + 40, 1000 * scale + 40, { "aria-hidden": "true" });
    const share = (value) => `${(100 * (20 + scale * value)) / points.width}%`;
    const ring = make("div", { class: "fm-ring", "aria-hidden": "true" });
    const area = make("div", { class: "fm-map", role: "application", tabindex: 0 }, points, ring);
    const help = "Map of images: arrow keys lead to the nearest image in that direction";
    area.setAttribute("aria-label", help);
    const picture = canvas(width, height, { class: "fm-picture fm-large", role: "img" });
    const said = report();
    const present = [...new Set(labels)].sort((one, other) => one - other);
    const names = ["all classes", ...present.map((label) => classes[label])];
    const shown = choice("Show", names, paintPoints);
    const odd = labels.map((_, number) => number).filter((n) => named[n] !== labels[n]);
    const next = make("button", { type: "button" }, "Next among strangers");
    let chosen = 0;

    function paintPoints() {
      const only = present[shown.position() - 1];
      const pen = points.getContext("2d");
      pen.clearRect(0, 0, points.width, points.height);
      places.forEach(([x, y], number) => {
        const faint = only !== undefined && labels[number] !== only;
        pen.globalAlpha = faint ? 0.12 : 0.8;
        pen.fillStyle = colours[labels[number] % colours.length];
        pen.beginPath();
        pen.arc(20 + scale * x, 20 + scale * y, 9, 0, 2 * Math.PI);
        pen.fill();
      });
    }

    function nameClasses() {
      for (const label of present) {
        const own = places.filter((_, number) => labels[number] === label);
        const middle = [0, 1].map((part) => {
          const sorted = own.map((one) => one[part]).sort((one, other) => one - other);
          return sorted[sorted.length >> 1];
        });
        const text = make("span", { class: "fm-name", "aria-hidden": "true" }, classes[label]);
        const [left, top] = middle.map(share);
        Object.assign(text.style, { left, top, translate: `-${left} -${top}` }); // never outside
        text.style.borderColor = colours[label % colours.length];
        area.append(text);
      }
    }

    function choose(number) {
      chosen = number;
      const [x, y] = places[number];
      ring.style.left = share(x);
      ring.style.top = share(y);
      const column = number % columns;
      const row = Math.floor(number / columns);
      const pen = picture.getContext("2d");
      pen.drawImage(sheet, column * width, row * height, width, height, 0, 0, width, height);
      const own = classes[labels[number]];
      picture.setAttribute("aria-label", `image ${number + 1}, class ${own}`);
      const agreed = named[number] === labels[number];
      const other = `but by its neighbours class ${classes[named[number]]}`;
      const others = agreed ? "and its neighbours agree" : other;
      said.textContent = `Image ${number + 1} of ${labels.length}: class ${own}, ${others}.`;
    }

    // The nearest image within 45 degrees of a direction, this one if there is none.
    function toward([right, down]) {
      const [x, y] = places[chosen];
      let [best, least] = [chosen, Infinity];
      places.forEach((place, number) => {
        const [dx, dy] = [place[0] - x, place[1] - y];
        const ahead = dx * right + dy * down;
        const aside = Math.abs(dx * down) + Math.abs(dy * right);
        if (ahead > 0 && aside <= ahead && Math.hypot(dx, dy) < least)
          [best, least] = [number, Math.hypot(dx, dy)];
      });
      return best;
    }

    area.addEventListener("keydown", (event) => {
      const direction = DIRECTIONS[event.key];
      if (!direction || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      choose(toward(direction));
    });

    function point(event) {
      const box = points.getBoundingClientRect();
      const unit = points.width / box.width;
      const x = ((event.clientX - box.left) * unit - 20) / scale;
      const y = ((event.clientY - box.top) * unit - 20) / scale;
      const apart = places.map((place) => Math.hypot(place[0] - x, place[1] - y));
      const nearest = apart.indexOf(Math.min(...apart));
      if (apart[nearest] < 40 && nearest !== chosen) choose(nearest);
    }
    area.addEventListener("pointermove", point);
    area.addEventListener("pointerdown", point);
    next.addEventListener("click", () => choose(odd.find((number) => number > chosen) ?? odd[0]));
    next.disabled = !odd.length;

    nameClasses();
    paintPoints();
    sheet.decode().then(() => choose(chosen));
    return [
      make("div", { class: "fm-controls" }, shown.label, next),
      make("div", { class: "fm-row" }, area, make("div", { class: "fm-side" }, picture, said)),
    ];
  }

  // --- all figures of the page ------------------------------------------------------------------

  const KINDS = { perturbation, cache, map };

  for (const script of document.querySelectorAll("script[data-figure]")) {
    const figure = document.getElementById(script.dataset.figure);
    const data = JSON.parse(script.textContent);
    const caption = figure.querySelector(":scope > figcaption");
    const picture = [...figure.childNodes].filter((node) => node !== caption);
    const still = make("details", { class: "fm-still" }, make("summary", {}, "As a still picture"));
    still.append(...picture);
    figure.prepend(make("div", { class: "fm-interactive" }, ...KINDS[data.kind](data)), still);
    addEventListener("beforeprint", () => still.setAttribute("open", ""));
  }
})();
