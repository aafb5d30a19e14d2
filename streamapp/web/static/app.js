"use strict";
// Pages are complete without this file. It refreshes what changes, shows local times and ages, and copies.
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  // What a page can do without waits until it has been painted: scripts with `defer` run before that.
  window.painted = new Promise((done) => (document.hidden ? done() : requestAnimationFrame(() => setTimeout(done))));
  const ahead = Number(root.dataset.now) - Date.now(); // the worker's clock against this one

  // Times: local time on hover; ages tick.
  let localForm = null; // dear to make
  const ago = (seconds) => {
    if (seconds < 2) return "just now";
    for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
      if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
    }
    return `${seconds} s ago`;
  };
  const dress = (scope) => {
    localForm = localForm || new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
    for (const time of scope.querySelectorAll("time[datetime]")) {
      const at = Date.parse(time.dateTime);
      if (Number.isNaN(at)) continue;
      const title = `${time.dateTime}\nhere: ${localForm.format(at)}`;
      if (time.title !== title) time.title = title;
      if ("ago" in time.dataset) {
        const text = ago(Math.max(0, Math.floor((Date.now() + ahead - at) / 1000)));
        if (time.textContent !== text) time.textContent = text;
      }
    }
  };

  // Change `old` into `fresh` touching only what differs, so that focus, selection, scroll and open details stay.
  const keyOf = (node) => (node.nodeType === 1 ? node.dataset.key || node.id || null : null);
  const morph = (old, fresh) => {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
      old.replaceWith(fresh);
      return;
    }
    if (old.nodeType === 1 && "mine" in old.dataset) return; // another script draws there
    if (old.nodeType !== 1) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value && !(name === "class" && old.classList.contains("done"))) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !(old.nodeName === "DETAILS" && name === "open")) old.removeAttribute(name);
    }
    children(old, fresh);
  };
  const children = (old, fresh) => {
    const keyed = new Map();
    for (const node of old.childNodes) if (keyOf(node)) keyed.set(keyOf(node), node);
    const wanted = new Set([...fresh.childNodes].map(keyOf).filter(Boolean));
    let at = old.firstChild;
    for (const next of [...fresh.childNodes]) {
      while (at && keyOf(at) && !wanted.has(keyOf(at))) { const gone = at; at = at.nextSibling; gone.remove(); }
      const key = keyOf(next);
      const known = key ? keyed.get(key) : null;
      if (known && known.parentNode === old) {
        if (known === at) at = at.nextSibling; else old.insertBefore(known, at);
        morph(known, next);
      } else if (!key && at && !keyOf(at) && at.nodeName === next.nodeName) {
        const same = at;
        at = at.nextSibling;
        morph(same, next);
      } else {
        old.insertBefore(next, at);
      }
    }
    while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
  };

  const parse = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content;
  };

  // Live updates while the page is visible: by a stream, or by asking again where three other pages of this browser have
  // one. A stream holds a connection, and a browser has six to a host: without a limit the seventh page never loads.
  const STREAMS_MAX = 3;
  const ASK_MS = 2000;
  const pulse = document.getElementById("pulse");
  const page = document.body.dataset.page;
  const events = `/live?page=${encodeURIComponent(page)}&since=${Number(root.dataset.now) || 0}`;
  let stream = null;
  let leave = null; // gives the place among the streams back
  let asking = 0; // the timer of the next question
  let tag = "";
  let isOpen = false;
  let worry = 0;
  const say = (name, text) => {
    if (pulse.textContent === text) return;
    pulse.hidden = false;
    pulse.className = `pulse ${name}`;
    pulse.textContent = text;
  };
  const calm = () => { clearTimeout(worry); worry = 0; say("live", "Live"); };
  const fret = () => { worry = worry || setTimeout(() => say("paused", "Not updating"), 4000); };
  const show = (parts) => {
    for (const id of Object.keys(parts)) {
      const old = document.getElementById(id);
      if (!old) continue;
      const fresh = parse(parts[id]);
      dress(fresh);
      if (fresh.firstElementChild) morph(old, fresh.firstElementChild);
    }
  };
  const close = () => {
    isOpen = false;
    if (stream) stream.close();
    stream = null;
    if (leave) leave();
    leave = null;
    clearTimeout(asking);
  };
  const listen = () => {
    stream = new EventSource(events);
    stream.onopen = calm;
    stream.onerror = () => {
      fret();
      if (stream && stream.readyState === EventSource.CLOSED) { close(); setTimeout(() => document.hidden || open(), 10000); }
    };
    stream.addEventListener("parts", (event) => show(JSON.parse(event.data)));
  };
  // One of the places, or null. Browsers keep locks on secure origins (https, localhost) only; elsewhere all pages ask.
  const place = async () => {
    if (!navigator.locks) return null;
    for (let number = 0; number < STREAMS_MAX; number += 1) {
      const found = await new Promise((resolve) => {
        const held = (lock) => (lock ? new Promise((free) => resolve(free)) : resolve(null));
        navigator.locks.request(`stream-${number}`, { ifAvailable: true }, held).catch(() => resolve(null));
      });
      if (found) return found;
    }
    return null;
  };
  const ask = async () => {
    try {
      const answer = await fetch(`${events}&once=1`, { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store" });
      if (answer.status === 200) { tag = answer.headers.get("ETag") || ""; show(await answer.json()); }
      if (answer.status === 200 || answer.status === 304) calm(); else fret();
    } catch { fret(); }
  };
  const follow = async () => {
    const found = await place();
    if (!isOpen || stream) { if (found) found(); return; }
    if (found) { leave = found; listen(); return; }
    await ask();
    clearTimeout(asking);
    if (isOpen) asking = setTimeout(follow, ASK_MS);
  };
  const open = () => {
    if (isOpen || document.hidden || !page || !document.getElementById("main").querySelector("[id^=live-]")) return;
    isOpen = true;
    follow();
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", () => window.painted.then(open));

  // Copy: buttons, and money selected on the page copies with all its decimals.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      const area = document.createElement("textarea");
      area.value = button.dataset.copy;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      button.focus();
    }
    button.classList.add("done");
    button.title = "Copied";
    say("live", "Copied");
    setTimeout(() => { button.classList.remove("done"); button.title = "Copy"; if (stream) say("live", "Live"); else pulse.hidden = true; }, 1200);
  });
  document.addEventListener("copy", (event) => {
    const selection = getSelection();
    const inside = (node) => (node && (node.nodeType === 1 ? node : node.parentElement)?.closest("data.money")) || null;
    const money = inside(selection.anchorNode);
    if (!money || money !== inside(selection.focusNode)) return;
    event.clipboardData.setData("text/plain", money.value);
    event.preventDefault();
  });

  // Keyboard: "/" goes to the first filter.
  document.addEventListener("keydown", (event) => {
    const first = document.getElementById("f-org") || document.getElementById("find");
    if (event.key !== "/" || !first || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA)$/.test(document.activeElement.nodeName)) return;
    event.preventDefault();
    first.focus();
  });

  window.painted.then(() => dress(document));
  setInterval(() => { if (!document.hidden) dress(document.getElementById("main")); }, 1000);
  window.painted.then(open);
})();
