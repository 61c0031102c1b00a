"use strict";
/* model.js: a graph as the page works on it. */

const KINDS = { "cross layer transcoder": "feature", "mlp reconstruction error": "error", embedding: "embedding", logit: "logit" };
const LATENTS = JSON.parse(document.getElementById("latents").textContent);

/* Text that is shown: what would be blank has a sign. */
function visible(s) {
	s = String(s).replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/\r/g, "␍");
	return s.trim() ? s : s.replace(/ /g, "␣") || "∅";
}
function clip(s, n) {
	const all = Array.from(s);
	return all.length > n ? all.slice(0, n - 1).join("") + "…" : s;
}
const count = d3.format(",d");
const percent = x => (100 * x).toFixed(x && Math.abs(x) < .1 ? 1 : 0) + " %";
function num(x) {
	const a = Math.abs(x);
	return x === null || x === undefined ? "–" : a && (a < .001 || a >= 1e5) ? x.toExponential(1) : a >= 100 ? x.toFixed(0) : a >= 10 ? x.toFixed(1) : x.toFixed(3);
}
const signed = x => (x > 0 ? "+" : x < 0 ? "−" : "") + num(Math.abs(x));

/* What lies inside the first and the last quotation mark of a target's label. */
function quoted(s) {
	const m = /"([^]*)"/.exec(s);
	return m ? m[1] : s;
}

function readNode(a, i) {
	const [id, js, type, layer, pos, feature, act, inf, prob, target, clerp] = a;
	const kind = KINDS[type] || "other";
	const latent = kind === "feature" && /^\d+_\d+_/.test(id) ? id.split("_").slice(0, 2).join("_") : null;
	return { i, id, js, type, kind, layer, pos, feature, act, inf, prob, target, clerp, latent,
		about: latent && LATENTS[latent] || null, row: layer, ins: [], outs: [], inSum: 0, outSum: 0, share: 0 };
}

/* Reads the element of a graph. Links: S -> T, W the weight, P its share of all
 * that goes into T; byWeight and byShare are their numbers, strongest first. */
function readGraph(element) {
	const raw = JSON.parse(element.textContent), L = raw.links, n = L.length / 3;
	const g = { name: raw.name, meta: raw.metadata, q: raw.qParams, lost: raw.lost, nodes: raw.nodes.map(readNode), n,
		S: new Uint32Array(n), T: new Uint32Array(n), W: new Float32Array(n), P: new Float32Array(n), byId: new Map() };
	const N = g.nodes;
	let last = 0;

	for (const d of N) {
		/* a feature has an id before an error node of the same id */
		if (!g.byId.has(d.id) || d.kind !== "error") g.byId.set(d.id, d);
		if (d.kind !== "logit") last = Math.max(last, d.layer);
	}
	for (const d of N) {
		if (d.js && !g.byId.has(d.js)) g.byId.set(d.js, d);
		if (d.kind === "logit") d.row = last + 1;
	}
	g.last = last + 1;
	for (let k = 0; k < n; k++) {
		g.S[k] = L[3 * k];
		g.T[k] = L[3 * k + 1];
		g.W[k] = L[3 * k + 2];
		const s = N[g.S[k]], t = N[g.T[k]], w = Math.abs(g.W[k]);
		s.outs.push(k);
		t.ins.push(k);
		s.outSum += w;
		t.inSum += w;
	}
	for (let k = 0; k < n; k++) g.P[k] = g.W[k] / (N[g.T[k]].inSum || 1);
	g.byWeight = ranked(g.W);
	g.byShare = ranked(g.P);
	const by = (x, y) => Math.abs(g.W[y]) - Math.abs(g.W[x]) || x - y;
	for (const d of N) {
		d.ins.sort(by);
		d.outs.sort(by);
	}
	g.tokens = Array.isArray(g.meta.prompt_tokens) ? g.meta.prompt_tokens.map(String) : [];
	for (const d of N)
		while (d.pos !== null && d.pos < 1e6 && g.tokens.length <= d.pos) g.tokens.push("");
	weigh(g);
	place(g);
	return g;
}

function ranked(v) {
	const a = Float32Array.from(v, Math.abs), order = Uint32Array.from(v, (_, i) => i);
	return order.sort((x, y) => a[y] - a[x] || x - y);
}

/* Each node's share of all influence, and (inf) the share that it and stronger
 * nodes have together. Files without influence: what flows back from the
 * targets, by their probability, along links by their share of input. */
function weigh(g) {
	const N = g.nodes.filter(d => d.kind !== "logit");
	g.computed = N.filter(d => d.inf !== null).length < N.length / 2;
	if (g.computed) {
		for (const d of g.nodes) d.share = d.kind === "logit" ? d.prob || 1e-3 : 0;
		for (const d of g.nodes.slice().sort((a, b) => b.row - a.row || a.i - b.i))
			for (const k of d.ins) g.nodes[g.S[k]].share += d.share * Math.abs(g.P[k]);
		const all = d3.sum(N, d => d.share) || 1;
		let so = 0;
		for (const d of N.sort((a, b) => b.share - a.share || a.i - b.i)) {
			d.share /= all;
			d.inf = so += d.share;
		}
	} else {
		let before = 0;
		for (const d of N.sort((a, b) => (a.inf === null) - (b.inf === null) || a.inf - b.inf || a.i - b.i)) {
			if (d.inf === null) continue;
			d.share = Math.max(0, d.inf - before);
			before = d.inf;
		}
	}
	g.strongest = N;
	g.most = d3.max(N, d => d.inf) || 1;
	g.top = d3.max(N, d => d.kind === "feature" ? d.share : 0) || 1;
	for (const d of g.nodes) if (d.kind === "logit") d.inf = 0;
}

/* x of every node, 0 to 1 over all columns: a column is as wide as its fullest
 * cell needs. */
function place(g) {
	const cells = new Map(), fullest = g.tokens.map(() => 0);
	for (const d of g.nodes) {
		d.col = d.pos === null ? 0 : Math.min(d.pos, Math.max(0, g.tokens.length - 1));
		const key = d.col + "/" + d.row;
		if (!cells.has(key)) cells.set(key, []);
		const cell = cells.get(key);
		cell.push(d);
		fullest[d.col] = Math.max(fullest[d.col] || 0, cell.length);
	}
	const width = fullest.map(m => 2 + Math.pow(m, .85)), all = d3.sum(width) || 1;
	let x = 0;
	g.cols = width.map((w, i) => {
		const c = { x0: x / all, x1: (x + w) / all, token: g.tokens[i] };
		x += w;
		return c;
	});
	if (!g.cols.length) g.cols.push({ x0: 0, x1: 1, token: "" });
	for (const cell of cells.values()) {
		const kinds = ["embedding", "feature", "other", "logit", "error"];
		cell.sort((a, b) => kinds.indexOf(a.kind) - kinds.indexOf(b.kind) || (b.prob || 0) - (a.prob || 0) || b.share - a.share || a.i - b.i);
		const c = g.cols[cell[0].col], most = Math.max(fullest[cell[0].col] || 1, 3), step = (c.x1 - c.x0) * .9 / most;
		cell.forEach((d, i) => { d.x = (c.x0 + c.x1) / 2 + (i - (cell.length - 1) / 2) * step; });
	}
}

/* How a latent without a label is told: by what it promotes. */
function hint(about) {
	return about && about.up && about.up.length ? "↑ " + about.up.slice(0, 3).map(u => visible(u[0]).trim()).join(", ") : "";
}

/* The name that nodes share when one of them is given another. */
const nameKey = d => d.kind === "feature" ? d.layer + "_" + d.feature : d.id;
/* Neuronpedia's key of a label. */
const clerpKey = d => (d.layer < 0 ? "E" : d.layer) + "_" + d.feature + "_" + d.pos;
