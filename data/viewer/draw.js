/* draw.js: the picture. Links lie on two canvases, the strongest above the rest,
 * nodes and what is selected on the next, what the pointer is at on the last, so
 * that each is drawn again only when it changes. */

const SUPER_COLORS = ["#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#b07aa1", "#d4a72c", "#ff9da7", "#9c755f", "#6b7a8f"];
const superColor = s => SUPER_COLORS[state.supers.indexOf(s) % SUPER_COLORS.length];

const view = {
	w: 0, h: 0, ratio: 1,
	left: 44, right: 22, top: 70, bottom: 74,
	x: d3.scale.linear().domain([0, 1]), y: d3.scale.linear(),
	hover: null, column: -1,
	colors: {},
	job: 0,		/* the frame that goes on drawing links, */
	pace: 3000,	/* how many a frame takes, */
	began: 0,	/* and when the last one began */
	drawn: 0,	/* links drawn so far */
};
const ctxLinks = $("c-links").getContext("2d"), ctxStrong = $("c-strong").getContext("2d"), ctxNodes = $("c-nodes").getContext("2d"), ctxTop = $("c-top").getContext("2d");
const zoomer = d3.behavior.zoom().scaleExtent([1, 60]).on("zoom", zoomed);

function readColors() {
	document.documentElement.classList.toggle("dark", state.dark);
	const css = getComputedStyle(document.documentElement);
	for (const c of ["bg", "surface", "ink", "muted", "faint", "line", "band", "pos", "neg", "accent", "node", "error", "mark"])
		view.colors[c] = css.getPropertyValue("--" + c).trim();
}
const inkOf = w => w < 0 ? view.colors.neg : view.colors.pos;

/* ---- size and zoom ---- */

function measureView() {
	const box = $("graph").getBoundingClientRect();
	view.w = Math.max(120, box.width);
	view.h = Math.max(120, box.height);
	view.ratio = window.devicePixelRatio || 1;
	for (const c of [$("c-links"), $("c-strong"), $("c-nodes"), $("c-top")]) {
		c.width = Math.round(view.w * view.ratio);
		c.height = Math.round(view.h * view.ratio);
	}
	view.bottom = Math.min(74, view.h * .2);
	view.x.domain([0, 1]).range([view.left, view.w - view.right]);
	view.y.domain([-1, G.last]).range([view.h - view.bottom - 8, view.top]);
	zoomer.x(view.x).y(view.y).size([view.w, view.h]);
	const z = state.zoom || [1, 0, 0];
	zoomer.scale(z[0]).translate([z[1] * view.w, z[2] * view.h]);
}
function zoomed() {
	const k = zoomer.scale(), t = zoomer.translate();
	/* no farther than the picture reaches */
	t[0] = Math.min(0, Math.max(view.w * (1 - k), t[0]));
	t[1] = Math.min(0, Math.max(view.h * (1 - k), t[1]));
	zoomer.translate(t);
	state.zoom = k === 1 ? null : [k, t[0] / view.w, t[1] / view.h];
	tip(null);
	redraw();
	save();
}
/* factor 0: all of it. About the selected node, else the middle. */
function zoomBy(factor) {
	const k = factor ? Math.max(1, Math.min(60, zoomer.scale() * factor)) : 1;
	const at = state.node ? [px(state.node), py(state.node)] : [view.w / 2, view.h / 2], t = zoomer.translate(), f = k / zoomer.scale();
	zoomer.scale(k).translate([at[0] - (at[0] - t[0]) * f, at[1] - (at[1] - t[1]) * f]);
	zoomed();
}
const px = d => view.x(d.x), py = d => view.y(d.row);

/* Moves the picture so that d is inside. */
function bringIn(d) {
	if (zoomer.scale() === 1) return;
	const t = zoomer.translate(), x = px(d), y = py(d), m = 60;
	if (x > view.left + m && x < view.w - m && y > m && y < view.h - view.bottom) return;
	zoomer.translate([t[0] + view.w / 2 - x, t[1] + view.h / 2 - y]);
	zoomed();
}

/* ---- links ---- */

function begin(ctx) {
	ctx.setTransform(view.ratio, 0, 0, view.ratio, 0, 0);
	ctx.globalCompositeOperation = "source-over";
	ctx.globalAlpha = 1;
	ctx.clearRect(0, 0, view.w, view.h);
}

const STRONG = 300;	/* links that are drawn thick */

/* The strongest at once, the weakest of them first; the rest in pieces, thin, as
 * many a frame as this machine manages in its time. (Nothing is put beneath what
 * is there: without a graphics card that takes ten times as long.) */
function drawLinks() {
	cancelAnimationFrame(view.job);
	begin(ctxLinks);
	begin(ctxStrong);
	view.order = ranking();
	view.drawn = 0;
	view.ok = Uint8Array.from(G.nodes, d => shown(d) ? 1 : 0);
	view.X = Float32Array.from(G.nodes, px);
	view.Y = Float32Array.from(G.nodes, py);
	view.at = Math.min(STRONG, state.links);
	for (let to = view.at; to > 0; to -= 30) strokeLinks(ctxStrong, Math.max(0, to - 30), to);
	moreLinks();
}
function moreLinks() {
	/* also from one drawing to the next, while a slider is dragged */
	const now = performance.now(), since = now - view.began;
	if (since < 250) view.pace = since > 26 ? Math.max(200, view.pace / 2) : Math.min(12000, view.pace * 1.3);
	view.began = now;
	for (let left = view.pace; left > 0 && view.at < state.links && performance.now() - now < 8;) {
		const to = Math.min(state.links, view.at + Math.min(Math.ceil(left), 1024, view.at >> 1));
		strokeLinks(ctxLinks, view.at, to);
		left -= to - view.at;
		view.at = to;
	}
	if (view.at < state.links) view.job = requestAnimationFrame(moreLinks);
	sayDrawn();
}
/* Links from to to, by rank. */
function strokeLinks(ctx, from, to) {
	const { order, ok, X, Y } = view, { S, T, W } = G;
	const rank = (from + to) / 2, fade = state.node || state.box ? .35 : 1;
	const paths = [new Path2D(), new Path2D()];
	const lo = view.left - 20, hi = view.w + 20, bottom = view.h - view.bottom + 30;

	for (let i = from; i < to; i++) {
		const k = order[i], s = S[k], t = T[k];
		if (!ok[s] || !ok[t]) continue;
		view.drawn++;
		if (X[s] < lo && X[t] < lo || X[s] > hi && X[t] > hi || Y[t] > bottom || Y[s] < 0) continue;
		const p = paths[W[k] < 0 ? 1 : 0];
		p.moveTo(X[s], Y[s]);
		p.lineTo(X[t], Y[t]);
	}
	ctx.globalAlpha = fade * Math.max(.07, Math.min(.75, 5 / Math.sqrt(rank + 20)));
	ctx.lineWidth = from >= STRONG ? 1 / view.ratio : Math.max(1 / view.ratio, Math.min(2.4, 14 / Math.sqrt(rank + 30)));
	for (const i of [0, 1]) {
		ctx.strokeStyle = i ? view.colors.neg : view.colors.pos;
		ctx.stroke(paths[i]);
	}
}

/* ---- nodes ---- */

function radius(d) {
	const room = Math.min(1.5, Math.max(.75, zoomer.scale() ** .3)) * Math.max(.6, Math.min(1, 60 / Math.sqrt(G.nodes.length)));
	if (d.kind === "logit" || d.kind === "embedding") return 4.6;
	return room * (d.kind === "error" ? 3 : 2.9 + 3.2 * Math.sqrt(d.share / G.top));
}
/* Adds d's shape to a path. */
function outline(ctx, d, r) {
	const x = px(d), y = py(d);
	if (d.kind === "error") {
		ctx.moveTo(x, y - r * 1.25); ctx.lineTo(x + r * 1.25, y); ctx.lineTo(x, y + r * 1.25); ctx.lineTo(x - r * 1.25, y); ctx.closePath();
	} else if (d.kind === "embedding" || d.kind === "logit") {
		ctx.rect(x - r, y - r, 2 * r, 2 * r);
	} else if (d.kind === "other") {
		ctx.moveTo(x, y - r * 1.2); ctx.lineTo(x + r * 1.1, y + r * .8); ctx.lineTo(x - r * 1.1, y + r * .8); ctx.closePath();
	} else {
		ctx.moveTo(x + r, y);
		ctx.arc(x, y, r, 0, 2 * Math.PI);
	}
}

/* The links of the selected node or supernode that are pointed out. */
function emphasized() {
	const own = state.box ? state.box.nodes : state.node ? [state.node] : [], all = [];
	const limit = state.links ? strength(ranking()[state.links - 1]) : Infinity;
	for (const d of own)
		for (const list of [d.ins, d.outs]) {
			let n = 0;
			for (const k of list) {
				if (!shown(G.nodes[G.S[k]]) || !shown(G.nodes[G.T[k]])) continue;
				if (n++ < 25 || strength(k) >= limit) all.push(k);
			}
		}
	return all;
}

function drawNodes() {
	const ctx = ctxNodes, C = view.colors;
	begin(ctx);
	ctx.save();
	ctx.beginPath();
	ctx.rect(view.left - 6, 0, view.w - view.left + 6, view.h - view.bottom + 4);
	ctx.clip();
	const strong = emphasized(), near = new Set(), most = strong.reduce((m, k) => Math.max(m, strength(k)), 0) || 1;
	for (const k of strong.sort((a, b) => strength(a) - strength(b))) {
		const s = G.nodes[G.S[k]], t = G.nodes[G.T[k]], v = strength(k) / most;
		near.add(s).add(t);
		ctx.globalAlpha = .3 + .65 * Math.sqrt(v);
		ctx.lineWidth = .8 + 3.4 * v;
		ctx.strokeStyle = inkOf(G.W[k]);
		ctx.beginPath();
		ctx.moveTo(px(s), py(s));
		ctx.lineTo(px(t), py(t));
		ctx.stroke();
	}
	const own = new Set(state.box ? state.box.nodes : state.node ? [state.node] : []);
	/* nodes that look alike are one path */
	const looks = new Map(), tint = d3.interpolateRgb(C.surface, C.node);
	for (const d of G.nodes) {
		if (!shown(d)) continue;
		const x = px(d);
		if (x < view.left - 20 || x > view.w + 20) continue;
		const faded = own.size && !near.has(d) && !own.has(d) && !d.pin;
		const depth = d.kind === "error" ? 0 : d.kind === "feature" || d.kind === "other" ? .25 + .75 * Math.round(6 * Math.sqrt(Math.min(1, d.share / G.top))) / 6 : .85;
		const fill = d.sup ? superColor(d.sup) : tint(depth), key = [fill, d.pin, faded, d.kind === "error"].join();
		if (!looks.has(key)) looks.set(key, { fill, pin: d.pin, faded, line: d.pin ? C.ink : d.kind === "error" ? C.error : C.node, path: new Path2D() });
		outline(looks.get(key).path, d, radius(d));
	}
	for (const l of Array.from(looks.values()).sort((a, b) => b.faded - a.faded || !!a.pin - !!b.pin)) {
		ctx.globalAlpha = l.faded ? .4 : 1;
		ctx.fillStyle = l.fill;
		ctx.fill(l.path);
		ctx.lineWidth = l.pin ? 2 : 1;
		ctx.strokeStyle = l.line;
		ctx.stroke(l.path);
	}
	ctx.globalAlpha = 1;
	for (const d of own) ring(ctx, d, C.accent, 2.5);
	drawLabels(ctx, [state.node, ...state.pinned]);
	ctx.restore();
	drawAxes(ctx);
	drawTop();
}
/* What the pointer is at, and the same latent elsewhere. */
function drawTop() {
	const d = view.hover;
	begin(ctxTop);
	if (!d) return;
	ring(ctxTop, d, view.colors.ink, 1.5);
	if (d.kind === "feature")
		for (const x of G.nodes) if (x !== d && x.feature === d.feature && x.layer === d.layer && shown(x)) ring(ctxTop, x, view.colors.mark, 1.5);
	if (!d.pin && d !== state.node) drawLabels(ctxTop, [d]);
}
function ring(ctx, d, color, width) {
	ctx.beginPath();
	outline(ctx, d, radius(d) + 2.5);
	ctx.strokeStyle = color;
	ctx.lineWidth = width;
	ctx.stroke();
}

/* Text over anything. */
function halo(ctx, s, x, y) {
	ctx.lineWidth = 3.5;
	ctx.lineJoin = "round";
	ctx.strokeStyle = view.colors.surface;
	ctx.strokeText(s, x, y);
	ctx.fillText(s, x, y);
}

/* Names of nodes, the first first, where there is room. */
function drawLabels(ctx, nodes) {
	const taken = [];
	ctx.font = "11.5px system-ui, 'DejaVu Sans', sans-serif";
	ctx.textBaseline = "middle";
	ctx.textAlign = "left";
	for (const d of new Set(nodes)) {
		if (!d || !shown(d) || d.kind === "logit") continue;
		const s = clip(title(d), d === state.node ? 46 : 26), w = ctx.measureText(s).width, y = py(d);
		let x = px(d) + radius(d) + 5;
		if (x + w > view.w - 4) x = px(d) - radius(d) - 5 - w;
		if (d !== state.node && taken.some(b => x < b[1] && x + w > b[0] && Math.abs(y - b[2]) < 13)) continue;
		taken.push([x, x + w, y]);
		ctx.fillStyle = d === state.node ? view.colors.accent : view.colors.ink;
		halo(ctx, s, x, y);
	}
}

function drawAxes(ctx) {
	const C = view.colors, bottom = view.h - view.bottom + 8;
	ctx.font = "11px system-ui, 'DejaVu Sans', sans-serif";
	/* layers */
	ctx.textAlign = "right";
	ctx.textBaseline = "middle";
	const step = Math.abs(view.y(1) - view.y(0)), every = [1, 2, 5, 10, 20, 50, 100].find(n => n * step >= 13) || 200;
	for (let row = -1; row <= G.last; row++) {
		const y = view.y(row), edge = row < 0 || row === G.last;
		if (y < 4 || y > bottom || !edge && (row % every || Math.abs(y - view.y(-1)) < 13 || Math.abs(y - view.y(G.last)) < 13)) continue;
		ctx.fillStyle = edge ? C.ink : C.muted;
		ctx.fillText(layerName(row), view.left - 10, y);
	}
	/* tokens: upright when they fit, else slanted, else those that have room */
	ctx.save();
	ctx.beginPath();
	ctx.rect(view.left - 8, bottom - 8, view.w, view.bottom);
	ctx.clip();
	const words = G.cols.map(c => clip(visible(c.token).trim(), 16));
	const lies = G.cols.every((c, i) => ctx.measureText(words[i]).width < view.x(c.x1) - view.x(c.x0) - 4);
	let last = -1e9;
	G.cols.forEach((c, i) => {
		const x0 = view.x(c.x0), x1 = view.x(c.x1), x = (x0 + x1) / 2;
		if (x1 < view.left - 8 || x0 > view.w) return;
		ctx.globalAlpha = .8;
		ctx.fillStyle = C.line;
		if (x1 - x0 > 3) ctx.fillRect(x1, bottom - 6, 1, 6);
		ctx.globalAlpha = 1;
		const at = i === view.column || state.node && state.node.col === i;
		if (!lies && x - last < 12 && !at) return;
		last = x;
		ctx.fillStyle = at ? C.accent : C.ink;
		if (lies) {
			ctx.textAlign = "center";
			ctx.fillText(words[i], x, bottom + 12);
		} else {
			ctx.save();
			ctx.translate(x + 3, bottom + 4);
			ctx.rotate(-Math.PI / 3.2);
			ctx.textAlign = "right";
			ctx.fillText(words[i], 0, 0);
			ctx.restore();
		}
	});
	ctx.restore();
	/* targets */
	ctx.textAlign = "left";
	last = -1e9;
	for (const d of G.nodes.filter(d => d.kind === "logit").sort((a, b) => px(a) - px(b))) {
		const x = px(d), y = py(d);
		if (x < view.left - 8 || x > view.w || y < 10 || y > bottom) continue;
		const s = clip(visible(quoted(d.clerp)).trim() || "output", 14) + (d.prob ? " " + Math.round(100 * d.prob) + " %" : "");
		if (x - last < 12 && d !== state.node) continue;
		last = x;
		const slant = x + ctx.measureText(s).width * .72 < view.w;
		ctx.save();
		ctx.translate(x, y - 9);
		ctx.rotate(slant ? -Math.PI / 4 : Math.PI / 4);
		ctx.textAlign = slant ? "left" : "right";
		ctx.fillStyle = d === state.node ? C.accent : C.ink;
		halo(ctx, s, 0, 0);
		ctx.restore();
	}
}

/* ---- all of it ---- */

function redraw() {
	drawLinks();
	drawNodes();
}

/* The node at a place of the canvas, or null. */
function nodeAt(x, y) {
	let best = null, least = 12 * 12;
	if (y > view.h - view.bottom + 8) return null;
	for (const d of G.nodes) {
		const dx = px(d) - x, dy = py(d) - y, q = dx * dx + dy * dy;
		if (q < least && shown(d)) {
			least = q;
			best = d;
		}
	}
	return best;
}
function columnAt(x, y) {
	if (y < view.h - view.bottom + 8) return -1;
	return G.cols.findIndex(c => view.x(c.x0) <= x && x < view.x(c.x1));
}

function tip(d, x, y) {
	const t = $("tip");
	t.hidden = !d;
	if (!d) return;
	const facts = [layerName(d.row), "“" + visible(G.tokens[d.col] || "") + "” at " + d.pos];
	if (d.act !== null) facts.push("active " + num(d.act));
	if (d.prob && d.kind === "logit") facts.push("p " + percent(d.prob));
	else facts.push("influence " + percent(d.share));
	const rows = [el("b", {}, clip(title(d), 90)), el("div", { class: "muted" }, facts.join(" · "))];
	if (state.node && d !== state.node)
		for (const [list, other, said] of [[state.node.ins, "S", "into the selected one "], [state.node.outs, "T", "from the selected one "]])
			for (const k of list)
				if (G.nodes[G[other][k]] === d) rows.push(el("div", {}, said, el("b", { style: "color:" + inkOf(G.W[k]) }, signed(G.W[k]))));
	t.replaceChildren(...rows);
	const box = t.getBoundingClientRect();
	t.style.left = Math.max(4, Math.min(x + 14, view.w - box.width - 6)) + "px";
	t.style.top = (y + 18 + box.height > view.h ? Math.max(4, y - box.height - 12) : y + 16) + "px";
}

function hover(d, x, y) {
	if (d !== view.hover) {
		view.hover = d;
		drawTop();
		$("c-nodes").style.cursor = d ? "pointer" : "";
	}
	tip(d, x, y);
}
