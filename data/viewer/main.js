/* main.js: controls, pointer, keys; the beginning. */

let trail = [];		/* nodes selected before */

/* ---- what all changes end in ---- */

function changed() {
	sayControls();
	drawSub();
	redraw();
	panel();
	save();
}
function showAll() {
	trail = [];
	view.hover = null;
	view.column = -1;
	marked.clear();
	document.title = G.name + ": attribution graph";
	$("name").textContent = G.meta.prompt && String(G.meta.prompt).trim() ? visible(clip(String(G.meta.prompt).trim(), 160)) : G.name;
	$("name").title = G.name;
	$("graphs").value = state.graph;
	readColors();
	$("sub").hidden = !state.pinned.length;
	reserve();
	measureView();
	changed();
}
/* Room for the longest text beside each slider, so that the controls behind it
 * stay where they are while it is dragged. */
function reserve() {
	$("links-said").style.minWidth = 2 * count(G.n).length + " of  (≥ 0.0e-00)".length + "ch";
	$("influence-said").style.minWidth = 2 * count(G.nodes.length).length + " of  nodes (≤ 0.00)".length + "ch";
}
function select(d, draw = true) {
	if (state.node && d && d !== state.node) {
		trail.push(state.node);
		trail = trail.slice(-100);
	}
	state.node = d;
	state.box = null;
	view.column = -1;
	if (!draw) return;
	if (d) bringIn(d);
	changed();
}
function back() {
	const d = trail.pop();
	if (!d) return;
	state.node = null;
	select(d);
}
function follow(way) {
	const d = state.node;
	if (!d) return;
	const k = d[way].find(k => shown(G.nodes[(way === "ins" ? G.S : G.T)[k]]));
	if (k !== undefined) select(G.nodes[(way === "ins" ? G.S : G.T)[k]]);
}
function selectColumn(i) {
	state.node = state.box = null;
	view.column = i;
	changed();
}
function overview() {
	state.node = state.box = null;
	view.column = -1;
	changed();
}

let noteTimer = 0;
function note(text) {
	const t = $("links-said").parentNode;
	let n = $("note");
	if (!n) t.append(n = el("span", { id: "note", role: "status" }));
	n.textContent = text;
	clearTimeout(noteTimer);
	noteTimer = setTimeout(() => n.remove(), 6000);
}

/* ---- controls ---- */

/* Of the slider's 1000 steps each takes the same factor of links more. */
const linksOf = v => v <= 0 ? 0 : Math.max(1, Math.round(Math.pow(G.n, v / 1000)));
const sliderOf = n => n <= 0 ? 0 : G.n <= 1 ? 1000 : Math.max(1, Math.round(1000 * Math.log(n) / Math.log(G.n)));

function sayControls() {
	const visibleNodes = G.nodes.filter(shown).length;
	if (linksOf(+$("links").value) !== state.links) $("links").value = sliderOf(state.links);
	$("measure").value = state.measure;
	$("influence").value = Math.round(1000 * Math.min(1, state.influence / G.most));
	$("errors").checked = state.errors;
	$("influence-said").textContent = `${count(visibleNodes)} of ${count(G.nodes.length)} nodes` + (state.influence < G.most ? ` (≤ ${state.influence.toFixed(2)})` : "");
}
function sayDrawn() {
	const k = state.links && ranking()[Math.min(state.links, G.n) - 1], limit = state.links ? strength(k) : 0;
	$("links-said").textContent = `${count(view.drawn)} of ${count(G.n)}` + (state.links && state.links < G.n ? ` (≥ ${state.measure === "share" ? percent(limit) : num(limit)})` : "");
}
function wireControls() {
	NAMES.forEach((n, i) => $("graphs").append(el("option", { value: i }, n)));
	$("graphs").hidden = NAMES.length < 2;
	$("graphs").addEventListener("change", e => open(+e.target.value, { theme: state.dark ? "dark" : "light" }));
	$("links").addEventListener("input", e => {
		state.links = linksOf(+e.target.value);
		drawLinks();
		if (state.node || state.box) drawNodes();
		save();
	});
	$("influence").addEventListener("input", e => {
		state.influence = e.target.value >= 1000 ? 1 : G.most * e.target.value / 1000;
		sayControls();
		redraw();
		save();
	});
	$("measure").addEventListener("change", e => { state.measure = e.target.value; changed(); });
	$("errors").addEventListener("change", e => { state.errors = e.target.checked; changed(); });
	$("overview").addEventListener("click", overview);
	$("theme").addEventListener("click", theme);
	$("help").addEventListener("click", showHelp);
	$("export").addEventListener("click", showExport);
	$("copy").addEventListener("click", share);
	$("group").addEventListener("click", groupMarked);
	$("ungroup").addEventListener("click", ungroupChosen);
	$("arrange").addEventListener("click", () => { state.where.clear(); changed(); });
	$("unpin").addEventListener("click", () => { clearPins(); changed(); });
	for (const b of document.querySelectorAll("#zoom button")) b.addEventListener("click", () => zoomBy(+b.dataset.zoom));
}
function theme() {
	state.dark = !state.dark;
	readColors();
	changed();
}
function share() {
	saveNow();
	const done = ok => note(ok ? "The link is copied." : "The link is in the address bar.");
	if (navigator.clipboard) navigator.clipboard.writeText(location.href).then(() => done(true), () => done(false));
	else done(false);
}

/* ---- search ---- */

let hits = [], hitAt = 0;

/* A node by label, token, id or latent's number: those that begin with the words
 * first, then by influence. */
function search(text) {
	const words = text.toLowerCase().split(/\s+/).filter(Boolean);
	if (!words.length) return [];
	const found = [];
	for (const d of G.nodes) {
		const name = title(d).toLowerCase(), rest = [d.id, d.js || "", layerName(d.row), "#" + (d.latent || "").split("_")[1], G.tokens[d.col] || "",
			d.clerp, d.sup ? d.sup.name : "", d.about ? [d.about.explanation, d.about.tags, hint(d.about)].join(" ") : ""].join(" ").toLowerCase();
		if (words.every(w => name.includes(w) || rest.includes(w))) found.push([d, (name.startsWith(words[0]) ? 2 : 0) + (words.every(w => name.includes(w)) ? 1 : 0) + (d.id === text ? 8 : 0)]);
	}
	return found.sort((a, b) => b[1] - a[1] || b[0].share - a[0].share || a[0].i - b[0].i).map(f => f[0]);
}
function showHits() {
	const box = $("hits");
	box.hidden = !$("search").value.trim();
	if (box.hidden) return;
	box.replaceChildren(el("div", { class: "muted" }, hits.length ? count(hits.length) + " found" : "nothing found"), ...hits.slice(0, 60).map((d, i) => {
		const b = row(d);
		b.classList.toggle("at", i === hitAt);
		b.addEventListener("mousedown", e => e.preventDefault());
		b.addEventListener("click", closeHits);
		return b;
	}));
}
function closeHits() {
	$("hits").hidden = true;
	$("search").blur();
}
function wireSearch() {
	const s = $("search");
	s.addEventListener("input", () => { hits = search(s.value); hitAt = 0; showHits(); });
	s.addEventListener("focus", () => { hits = search(s.value); showHits(); });
	s.addEventListener("blur", () => { $("hits").hidden = true; });
	s.addEventListener("keydown", e => {
		const n = Math.min(hits.length, 60);
		if (e.key === "ArrowDown" || e.key === "ArrowUp") {
			hitAt = n ? (hitAt + (e.key === "ArrowDown" ? 1 : n - 1)) % n : 0;
			showHits();
			const at = document.querySelector("#hits .at");
			if (at) at.scrollIntoView({ block: "nearest" });
			e.preventDefault();
		} else if (e.key === "Enter" && hits[hitAt]) {
			const d = hits[hitAt];
			closeHits();
			select(d);
			$("c-nodes").focus();
		} else if (e.key === "Escape") {
			s.value = "";
			closeHits();
		}
		e.stopPropagation();
	});
}

/* ---- pointer ---- */

function wirePointer() {
	const c = $("c-nodes"), at = e => { const r = c.getBoundingClientRect(); return [e.clientX - r.left, e.clientY - r.top]; };
	d3.select(c).call(zoomer).on("dblclick.zoom", null);
	c.addEventListener("mousemove", e => { if (!e.buttons) hover(nodeAt(...at(e)), ...at(e)); });
	c.addEventListener("mouseleave", () => hover(null));
	c.addEventListener("click", e => {
		const d = nodeAt(...at(e)), column = columnAt(...at(e));
		c.focus({ preventScroll: true });
		if (d && (e.shiftKey || e.ctrlKey || e.metaKey)) {
			pin(d);
			changed();
		} else if (d) select(d);
		else if (column >= 0) selectColumn(column);
		else if (!e.shiftKey) overview();
	});
	c.addEventListener("dblclick", e => {
		const d = nodeAt(...at(e));
		if (d) {
			pin(d);
			changed();
		}
	});
	new ResizeObserver(() => {
		const r = $("graph").getBoundingClientRect();
		if (Math.abs(r.width - view.w) < 1 && Math.abs(r.height - view.h) < 1) return;
		measureView();
		redraw();
		if (state.pinned.length) drawSub();
	}).observe($("graph"));
}

/* ---- keys ---- */

/* The nearest node shown in a direction: beside it in its layer, or in the next
 * layer up or down that has any. */
function step(dx, dy) {
	const d = state.node, all = G.nodes.filter(shown);
	if (!all.length) return;
	if (!d) return select(all.reduce((a, b) => b.row > a.row || b.row === a.row && (b.prob || 0) > (a.prob || 0) ? b : a));
	let there;
	if (dx) there = all.filter(x => x.row === d.row && (x.x - d.x) * dx > 1e-9);
	else {
		const rows = all.map(x => x.row).filter(r => (r - d.row) * dy > 0);
		if (!rows.length) return;
		const next = dy > 0 ? d3.min(rows) : d3.max(rows);
		there = all.filter(x => x.row === next);
	}
	if (there.length) select(there.reduce((a, b) => Math.abs(b.x - d.x) < Math.abs(a.x - d.x) ? b : a));
}

const KEYS = [
	["↑ ↓ ← →", "the next node in that direction", null],
	["[ ]", "the strongest input, the strongest output of the selected node", null],
	["b", "back to the node selected before", () => back()],
	["Enter", "pin or unpin the selected node", null],
	["Escape", "close what is open, or nothing selected: the overview", null],
	["/", "search; arrows and Enter take one of what is found", () => $("search").focus()],
	["g", "make the marked boxes (shift-click) one supernode", () => groupMarked()],
	["u", "take the supernode apart", () => ungroupChosen()],
	["r", "rename the selected node or supernode", () => { if ($("rename")) $("rename").select(); }],
	["e", "show or hide error nodes", () => { state.errors = !state.errors; changed(); }],
	["m", "measure links by weight, or by share of the target's input", () => { state.measure = state.measure === "share" ? "weight" : "share"; changed(); }],
	[", .", "fewer, more links", null],
	["+ − 0", "closer, farther, all of it", null],
	["t", "dark or light", () => theme()],
	["x", "export", () => showExport()],
	["?", "this list", () => showHelp()],
];
const more = { ArrowUp: () => step(0, 1), ArrowDown: () => step(0, -1), ArrowLeft: () => step(-1, 0), ArrowRight: () => step(1, 0),
	"[": () => follow("ins"), "]": () => follow("outs"), "+": () => zoomBy(1.5), "=": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5), 0: () => zoomBy(0),
	",": () => moreLinksBy(-40), ".": () => moreLinksBy(40),
	Enter: () => { if (state.node) { pin(state.node); changed(); } },
	Escape: () => overview() };

function moreLinksBy(steps) {
	$("links").value = +$("links").value + steps;
	$("links").dispatchEvent(new Event("input"));
}
function wireKeys() {
	const keys = { ...more };
	for (const [key, , run] of KEYS) if (run) keys[key] = run;
	document.addEventListener("keydown", e => {
		const at = e.target, types = at.matches && at.matches("input[type=text], input[type=search], textarea, select");
		if (e.ctrlKey || e.metaKey || e.altKey || types || $("box").open) return;
		if (at.matches && at.matches("input[type=range]") && e.key.startsWith("Arrow")) return;
		if (e.key === "Enter" && at.matches && at.matches("button, input")) return;
		if (!Object.hasOwn(keys, e.key)) return;
		e.preventDefault();
		keys[e.key]();
	});
}

/* ---- dialogs ---- */

function dialog(...parts) {
	const d = $("box");
	d.replaceChildren(...parts.flat(9), el("div", { class: "tools" }, el("span", { class: "grow" }), el("button", { onclick: () => d.close() }, "Close")));
	if (!d.open) d.showModal();
}
function showHelp() {
	dialog(el("h2", {}, "How to"), el("p", {}, "Tokens stand from left to right, layers from bottom to top. A circle is a latent (the darker and larger, the more influence), a diamond what a layer's transcoder misses, a square below a token and above a target. A link is a direct effect: ",
		el("b", { style: "color:var(--pos)" }, "positive"), " or ", el("b", { style: "color:var(--neg)" }, "negative"), "."),
	el("table", {}, [["click", "a node: what it is and what it is linked with; a token: the nodes there"], ["double click", "pin it (also shift- or ctrl-click); pinned nodes make the picture below"], ["wheel, drag", "closer, farther, move"],
		["shift-click", "a box below: mark it for a supernode; drag a box where you like"]].map(([k, t]) => el("tr", {}, el("td", {}, el("b", {}, k)), el("td", {}, t))),
	KEYS.map(([k, t]) => el("tr", {}, el("td", {}, k.split(" ").map(x => [el("kbd", {}, x), " "])), el("td", {}, t)))),
	el("p", { class: "muted" }, "The address holds the view: Share copies it. The influence slider keeps the nodes that together have that share of all influence; the links slider the strongest links."));
}
function download(name, blob) {
	const a = el("a", { href: URL.createObjectURL(blob), download: name });
	document.body.append(a);
	a.click();
	a.remove();
	setTimeout(() => URL.revokeObjectURL(a.href), 5000);
}
function picture() {
	const c = document.createElement("canvas"), from = $("c-nodes");
	c.width = from.width;
	c.height = from.height;
	const x = c.getContext("2d");
	x.fillStyle = view.colors.surface;
	x.fillRect(0, 0, c.width, c.height);
	x.drawImage($("c-links"), 0, 0);
	x.drawImage($("c-strong"), 0, 0);
	x.drawImage(from, 0, 0);
	c.toBlob(b => download(G.name + ".png", b));
}
/* The picture of what is pinned, with the styles it needs inside. */
function pinnedPicture() {
	const svg = $("svg").cloneNode(true), box = $("svg").viewBox.baseVal, style = document.createElementNS("http://www.w3.org/2000/svg", "style");
	const css = getComputedStyle(document.documentElement), names = ["pos", "neg", "ink", "muted", "faint", "raised", "surface", "accent"];
	const rules = Array.from(document.styleSheets[0].cssRules).filter(r => /^#svg/.test(r.selectorText || "")).map(r => r.cssText.replace(/#svg/g, "svg"));
	style.textContent = `svg{${names.map(n => `--${n}:${css.getPropertyValue("--" + n)}`).join(";")};font-family:sans-serif;background:var(--surface)}` + rules.join("");
	svg.prepend(style);
	svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
	svg.setAttribute("width", box.width);
	svg.setAttribute("height", box.height);
	download(G.name + "-pinned.svg", new Blob([new XMLSerializer().serializeToString(svg)], { type: "image/svg+xml" }));
}
function showExport() {
	const text = el("textarea", { id: "qparams", spellcheck: "false", "aria-label": "qParams" });
	text.value = JSON.stringify(qParams(), null, 1);
	dialog(el("h2", {}, "Export"), el("p", {}, "The view as Neuronpedia's ", el("code", {}, "qParams"), "; put into the graph's JSON it opens there (", el("code", {}, "jq '.qParams = $q[0]' --slurpfile q q.json graph.json"), "). What is pasted here can be applied to this page."), text,
		el("div", { class: "tools" },
			el("button", { onclick: () => { text.select(); if (navigator.clipboard) navigator.clipboard.writeText(text.value).catch(() => {}); } }, "Copy"),
			el("button", { onclick: () => download(G.name + "-qparams.json", new Blob([text.value], { type: "application/json" })) }, "Save as file"),
			el("button", { id: "apply", onclick: () => {
				try {
					applyParams(JSON.parse(text.value));
					$("box").close();
					changed();
				} catch (e) {
					text.setCustomValidity(e.message);
					text.reportValidity();
					text.setCustomValidity("");
				}
			} }, "Apply"), el("span", { class: "grow" }),
			el("button", { onclick: picture }, "Graph as PNG"), state.pinned.length ? el("button", { onclick: pinnedPicture }, "Pinned as SVG") : null));
}

/* ---- the beginning ---- */

if (!ELEMENTS.length) document.body.prepend(el("p", {}, "This page holds no graph."));
else {
	state.dark = matchMedia("(prefers-color-scheme: dark)").matches;
	wireControls();
	wireSearch();
	wirePointer();
	wireKeys();
	restore();
	window.addEventListener("hashchange", restore);
}
