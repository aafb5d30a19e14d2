"use strict";
// Draws the charts of a page over their simple pictures, from what the page says in `data-points`; again whenever
// that changes. The page is complete without it.
(() => {
  const section = document.getElementById("live-charts");
  if (!section) return;
  const source = document.currentScript.dataset.library;
  let library = null;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const charts = new Map(); // name → { chart, series, figure, shown }

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const short = (value) => {
    for (const [limit, unit] of [[1e9, "B"], [1e6, "M"], [1e3, "k"]]) {
      if (Math.abs(value) >= limit) return `${+(value / limit).toPrecision(3)}${unit}`;
    }
    return `${+value.toPrecision(3)}`;
  };
  const money = (value, unit) => {
    const text = value === 0 ? "0" : value >= 0.1 ? value.toFixed(2) : `${+value.toPrecision(2)}`;
    return unit === "USD" ? `$${text}` : `${text} ${unit}`;
  };
  const duration = (value) => {
    for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
      if (value >= size) return `${+(value / size).toPrecision(3)} ${unit}`;
    }
    return `${value < 10 ? +value.toPrecision(2) : Math.round(value)} s`;
  };
  // Durations that hardly differ would have the same words at each mark of an axis that does not begin at 0.
  const fromZero = (own) => {
    const found = own();
    if (found && found.priceRange) found.priceRange.minValue = 0;
    return found;
  };
  const words = (figure) => (value) => {
    const { chart, unit } = figure.dataset;
    if (chart === "cost") return money(value, unit);
    if (chart === "latency") return unit === "s" ? `${(value / 1000).toFixed(1)} s` : `${Math.round(value)} ms`;
    if (chart === "errors") return `${+value.toPrecision(2)} %`;
    if (unit === "s") return duration(value);
    return short(value);
  };

  const dress = (entry) => {
    const { chart, figure, series } = entry;
    const words_ = words(figure);
    chart.applyOptions({
      layout: {
        background: { type: "solid", color: "transparent" }, textColor: colour("faint"), fontSize: 11,
        fontFamily: getComputedStyle(document.body).fontFamily,
      },
      grid: { vertLines: { visible: false }, horzLines: { color: colour("line") } },
      crosshair: {
        horzLine: { visible: false, labelVisible: false },
        vertLine: { color: colour("line-strong"), labelBackgroundColor: colour("inverse"), style: 0 },
      },
      localization: { priceFormatter: words_ },
    });
    for (const [name, one] of series) one.applyOptions({ color: colour(`chart-${name}`) });
  };

  const make = (figure) => {
    const chart = library.createChart(figure.querySelector(".canvas"), {
      autoSize: true,
      handleScroll: false,
      handleScale: false,
      rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.08, bottom: 0 }, entireTextOnly: true },
      timeScale: { borderVisible: false, timeVisible: true, secondsVisible: false, allowBoldLabels: false, fixLeftEdge: true, fixRightEdge: true, lockVisibleTimeRangeOnResize: true },
    });
    const common = { priceLineVisible: false, lastValueVisible: false };
    const lines = "lines" in figure.dataset;
    if (figure.dataset.unit === "s" && figure.dataset.chart !== "latency") common.autoscaleInfoProvider = fromZero;
    const series = new Map();
    for (const [, name] of JSON.parse(figure.dataset.points)) {
      series.set(name, lines
        ? chart.addLineSeries({ ...common, lineWidth: name === "p95" ? 2 : 1.5, crosshairMarkerRadius: 3 })
        : chart.addHistogramSeries({ ...common, base: 0 }));
    }
    const entry = { chart, series, figure, shown: "" };
    chart.subscribeCrosshairMove((event) => tell(entry, event));
    dress(entry);
    return entry;
  };

  // What is under the pointer stands in the legend.
  const tell = ({ figure, series }, event) => {
    const legend = figure.querySelector(".legend");
    for (const [name, one] of series) {
      const key = legend.querySelector(`.${name}`);
      const point = event.time === undefined ? undefined : event.seriesData.get(one);
      let value = point && point.value;
      if (value !== undefined && name === "completion") value -= event.seriesData.get(series.get("prompt")).value;
      if (value === undefined) delete key.dataset.value;
      else key.dataset.value = words(figure)(value);
    }
  };

  const draw = (figure) => {
    const name = figure.dataset.chart;
    let entry = charts.get(name);
    if (!entry || entry.figure !== figure) {
      if (entry) entry.chart.remove();
      charts.set(name, (entry = make(figure)));
    }
    const shown = figure.dataset.first + figure.dataset.points;
    if (entry.shown === shown) return;
    const first = Number(figure.dataset.first), step = Number(figure.dataset.step || 60);
    for (const [, key, values] of JSON.parse(figure.dataset.points)) {
      entry.series.get(key).setData(values.map((value, index) => {
        const time = first + index * step;
        return value === null ? { time } : { time, value };
      }));
    }
    entry.chart.timeScale().fitContent();
    entry.shown = shown;
  };

  const drawAll = () => { for (const figure of document.querySelectorAll("#live-charts [data-chart]")) draw(figure); };
  const begin = () => {
    library = window.LightweightCharts;
    drawAll();
    new MutationObserver(drawAll).observe(section, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-points"] });
    dark.addEventListener("change", () => charts.forEach(dress));
  };
  // The library is long: it is read once the page has been painted (`painted` is from app.js).
  window.painted.then(() => {
    const script = document.createElement("script");
    script.src = source;
    script.onload = begin;
    document.head.append(script);
  });
})();
