/* panel.js: what is told about the selected node, supernode or graph. */

/* An element: attributes (on...: listeners), children, which are text or
 * elements. Text never becomes markup. */
function el(tag, attributes = {}, ...children) {
	const e = document.createElement(tag);
	for (const [k, v] of Object.entries(attributes)) {
		if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
		else if (v === true) e.setAttribute(k, "");
		else if (v !== false && v !== null && v !== undefined) e.setAttribute(k, v);
	}
	e.append(...children.flat(9).filter(c => c !== null && c !== undefined && c !== false));
	return e;
}

/* A node's sign as in the picture. */
function glyph(d) {
	const ns = "http://www.w3.org/2000/svg", svg = document.createElementNS(ns, "svg");
	const shape = document.createElementNS(ns, d.kind === "feature" ? "circle" : "path");
	svg.setAttribute("viewBox", "0 0 12 12");
	svg.setAttribute("class", "glyph");
	if (d.kind === "feature") for (const [k, v] of [["cx", 6], ["cy", 6], ["r", 4.5]]) shape.setAttribute(k, v);
	else shape.setAttribute("d", { error: "M6 1L11 6L6 11L1 6Z", other: "M6 1L11 10L1 10Z" }[d.kind] || "M2 2H10V10H2Z");
	const fill = d.sup ? superColor(d.sup) : d.kind === "error" ? "none" : "var(--node)";
	shape.setAttribute("style", `fill:${fill};stroke:${d.pin ? "var(--ink)" : d.kind === "error" ? "var(--error)" : "var(--node)"};stroke-width:${d.pin ? 2 : 1}`);
	svg.append(shape);
	return svg;
}

const place_ = d => layerName(d.row) + (d.pos === null ? "" : " · " + clip(visible(G.tokens[d.col] || "").trim(), 14));

/* A line of a list: a node, and perhaps a link to it. */
function row(d, k, most) {
	const w = k === undefined ? null : G.W[k], share = k === undefined ? null : G.P[k];
	return el("button", {
		class: k === undefined ? "row no-num" : "row", "data-id": d.id, title: title(d) + (share === null ? "" : "\n" + percent(Math.abs(share)) + " of the target's input"),
		onclick: e => e.ctrlKey || e.metaKey ? (pin(d), changed()) : select(d),
		onmouseenter: () => { view.hover = d; drawTop(); }, onmouseleave: () => { view.hover = null; drawTop(); },
	}, glyph(d), el("span", { class: "what" }, title(d)), el("span", { class: "where" }, place_(d)),
	w === null ? null : el("span", { class: "num", style: "color:" + (w < 0 ? "var(--neg)" : "var(--pos)") }, state.measure === "share" ? signed(100 * share) + " %" : signed(w)),
	w === null ? null : el("span", { class: "track" }, el("i", { style: `width:${Math.max(1, 100 * Math.min(1, strength(k) / most))}%;background:var(--${w < 0 ? "neg" : "pos"})` })));
}

/* What all lists begin with, and a way to the rest. */
function list(rows, first, make) {
	const box = el("div", {}, rows.slice(0, first).map(make));
	if (rows.length > first)
		box.append(el("button", { class: "more", onclick: e => e.target.replaceWith(...rows.slice(first).map(make)) }, "all " + count(rows.length)));
	return box;
}

/* Links of one direction, strongest first; other: the ends that are told. */
function links(heading, keys, other, id) {
	const own = keys.slice();
	if (state.measure === "share") own.sort((a, b) => Math.abs(G.P[b]) - Math.abs(G.P[a]) || a - b);
	const most = own.length ? strength(own[0]) : 1, total = d3.sum(own, k => Math.abs(G.W[k]));
	const mix = other === "S" && own.length ? mixture(own) : null;
	return el("section", { id }, el("h3", {}, heading, el("span", { class: "num" }, own.length ? `${count(own.length)} · Σ|w| ${num(total)}` : "none")),
		mix, list(own, 14, k => row(G.nodes[G[other][k]], k, most)));
}

/* Shares of tokens, features and errors in what goes in. */
function mixture(keys) {
	const of = { feature: 0, embedding: 0, error: 0, other: 0, logit: 0 };
	let all = 0;
	for (const k of keys) {
		of[G.nodes[G.S[k]].kind] += Math.abs(G.W[k]);
		all += Math.abs(G.W[k]);
	}
	return shares([["features", of.feature / all, "var(--node)"], ["tokens", of.embedding / all, "var(--accent)"], ["errors", of.error / all, "var(--faint)"], ["others", of.other / all, "var(--mark)"]]);
}
function shares(parts) {
	parts = parts.filter(p => p[1] > 0);
	return el("div", {}, el("div", { class: "mix" }, parts.map(p => el("i", { style: `width:${100 * p[1]}%;background:${p[2]}` }))),
		el("div", { class: "legend" }, parts.map(p => el("span", {}, el("i", { style: "background:" + p[2] }), p[0] + " " + percent(p[1])))));
}

function facts(pairs) {
	return el("dl", { class: "facts" }, pairs.filter(p => p && p[1] !== null && p[1] !== undefined && p[1] !== "").map(([k, v]) => [el("dt", {}, k), el("dd", { class: "num" }, v)]));
}

/* ---- a latent ---- */

function logits(heading, pairs) {
	if (!pairs || !pairs.length) return null;
	return [el("h3", {}, heading), el("div", { class: "chips" }, pairs.map(([t, v]) =>
		el("span", { class: "chip", title: v === null ? "" : "logit " + signed(v) }, visible(t))))];
}
function context(c, most) {
	const peak = c.acts[c.at] || 0;
	return el("div", { class: "context" }, el("span", { class: "value num" }, num(peak)), c.tokens.map((t, i) => {
		const a = c.acts[i] || 0, part = most > 0 ? a / most : 0;
		return el("span", {
			class: i === c.at ? "peak" : null, title: a ? num(a) : null,
			style: a > 0 ? `background:color-mix(in srgb, var(--mark) ${Math.round(12 + 78 * Math.min(1, part))}%, transparent)` : null,
		}, t.replace(/\n/g, "⏎"));
	}));
}
/* Bins of activations, an eighth of an octave each, from 2^-12 on. */
function histogram(h, quantile) {
	const n = h.slice(1), most = Math.max(...n) || 1, w = 100 / n.length, ns = "http://www.w3.org/2000/svg";
	const svg = document.createElementNS(ns, "svg"), edge = i => Math.pow(2, Math.floor(i / 8) - 12) * (1 + i % 8 / 8);
	svg.setAttribute("viewBox", "0 0 100 40");
	svg.setAttribute("preserveAspectRatio", "none");
	svg.setAttribute("class", "hist");
	n.forEach((v, i) => {
		const r = document.createElementNS(ns, "rect"), t = document.createElementNS(ns, "title");
		for (const [k, x] of [["x", i * w + w * .08], ["width", w * .84], ["y", 40 - 39 * Math.sqrt(v / most)], ["height", 39 * Math.sqrt(v / most)]]) r.setAttribute(k, x);
		r.setAttribute("style", "fill:var(--node)");
		t.textContent = `${num(edge(h[0] + i))} to ${num(edge(h[0] + i + 1))}: ${count(v)}`;
		r.append(t);
		svg.append(r);
	});
	return [el("h3", {}, "Activations", el("span", { class: "num" }, `${num(edge(h[0]))} to ${num(edge(h[0] + n.length))}` + (quantile ? `, median ${num(quantile[3])}` : ""))), svg];
}
function latent(a) {
	const most = Math.max(a.max || 0, ...(a.top || []).map(c => Math.max(...c.acts)));
	const out = [];
	if (a.explanation) out.push(el("p", { class: "note" }, a.explanation));
	if (a.tags) out.push(el("div", { class: "chips" }, a.tags.split(/[\s,]+/).filter(Boolean).map(t => el("span", { class: "chip tag" }, t))));
	out.push(facts([
		a.score !== undefined && ["label's score", percent(a.score) + " right" + (a.by ? " (" + a.by + ")" : "")],
		a.fired !== undefined && ["fires", count(a.fired) + " times, on " + (a.frequency < .001 ? "1 of " + count(Math.round(1 / (a.frequency || 1e-9))) + " tokens" : percent(a.frequency) + " of tokens")],
		a.mean !== undefined && ["activation", `mean ${num(a.mean)}, most ${num(a.max)}`],
		(a.think > 0 || a.answer > 0) && ["where", ["prompt", "think", "answer", "text"].filter(k => a[k] > 0).map(k => k + " " + percent(a[k])).join(", ")],
	]));
	out.push(logits("Promotes", a.up), logits("Suppresses", a.down));
	if (a.hist && a.hist.length > 1) out.push(histogram(a.hist, a.quantile));
	for (const [key, heading] of [["top", "Strongest contexts"], ["sample", "Contexts from weak to strong"]])
		if (a[key] && a[key].length) {
			const all = key === "sample" ? a[key].slice().reverse() : a[key];
			out.push(el("h3", {}, heading), list(all, key === "top" ? 8 : 3, c => context(c, most)));
		}
	if (a.near && a.near.length)
		out.push(el("h3", {}, "Similar latents of the layer"), el("div", { class: "chips" }, a.near.map(([id, cos]) =>
			el("span", { class: "chip" }, "#" + id + " ", el("small", {}, cos.toFixed(2))))));
	return el("div", { id: "latent" }, out);
}

/* ---- what can be selected ---- */

function rename(value, set, hint_) {
	return el("input", { type: "text", class: "rename", id: "rename", value, placeholder: hint_, "aria-label": hint_,
		onchange: e => { set(e.target.value.trim()); changed(); },
		onkeydown: e => { if (e.key === "Enter") e.target.blur(); } });
}

function nodePanel(d) {
	const same = d.kind === "feature" ? G.nodes.filter(x => x !== d && x.kind === "feature" && x.feature === d.feature && x.layer === d.layer) : [];
	const token = visible(G.tokens[d.col] || "");
	return [
		el("h2", {}, title(d)),
		d.clerp && state.names.has(nameKey(d)) && d.clerp !== title(d) ? el("div", { class: "muted" }, d.clerp) : null,
		el("div", { class: "tools" },
			el("button", { id: "pin", title: "Enter", onclick: () => { pin(d); changed(); } }, d.pin ? "Unpin" : "Pin"),
			el("button", { title: "the strongest input ( [ )", onclick: () => follow("ins") }, "↓ strongest input"),
			el("button", { title: "the strongest output ( ] )", onclick: () => follow("outs") }, "↑ strongest output"),
			trail.length ? el("button", { title: "where you were (b)", onclick: back }, "Back") : null),
		facts([
			["at", `${layerName(d.row)}, token ${d.pos === null ? "–" : d.pos} “${token}”`],
			d.latent ? ["latent", d.latent.split("_")[1]] : ["kind", { error: "what the transcoder misses", embedding: "token embedding", logit: "target" }[d.kind] || d.type],
			d.act !== null && ["activation", num(d.act)],
			d.kind === "logit" ? ["probability", percent(d.prob || 0)] : ["influence", percent(d.share) + (d.inf === null ? "" : `, ${percent(d.inf)} with all stronger`)],
			["id", d.id],
			d.sup && ["supernode", d.sup.name],
		]),
		d.kind === "feature" || d.kind === "other" ? rename(state.names.get(nameKey(d)) || "", v => v ? state.names.set(nameKey(d), v) : state.names.delete(nameKey(d)), "Name it yourself") : null,
		links("Inputs", d.ins, "S", "ins"), links("Outputs", d.outs, "T", "outs"),
		same.length ? [el("h3", {}, "The same latent at"), list(same, 6, x => row(x))] : null,
		d.about ? latent(d.about) : d.latent ? el("p", { class: "note" }, "Nothing more is known of this latent: give --features or --examples when the page is made.") : null,
	];
}

function superPanel(s) {
	const sums = sumLinks(boxes()), pick = (a, b) => sums.filter(x => x[a] === s).map(x => ({ box: x[b], sum: x }));
	const line = x => el("button", { class: "row", onclick: () => choose(x.box) }, el("i", { class: "glyph", style: "border-radius:3px;background:" + (x.box.nodes ? superColor(x.box) : "var(--node)") }),
		el("span", { class: "what" }, boxTitle(x.box)), el("span", { class: "where" }, x.box.nodes ? x.box.nodes.length + " nodes" : place_(x.box)),
		el("span", { class: "num", style: "color:" + (x.sum.w < 0 ? "var(--neg)" : "var(--pos)") }, state.measure === "share" ? signed(100 * x.sum.share) + " %" : signed(x.sum.w)));
	return [
		el("h2", {}, s.name), rename(s.name, v => { s.name = v || s.name; }, "Name of the supernode"),
		el("div", { class: "tools" }, el("button", { onclick: () => { dissolve(s); changed(); } }, "Ungroup")),
		el("h3", {}, "From pinned nodes"), pick("to", "from").map(line), el("h3", {}, "To pinned nodes"), pick("from", "to").map(line),
		el("h3", {}, "Members"), list(s.nodes, 40, d => row(d)),
	];
}

function overviewPanel() {
	const r = G.meta.r1_interp || {}, of = kind => d3.sum(G.nodes, d => d.kind === kind ? d.share : 0), all = of("feature") + of("error") + of("embedding") + of("other") || 1;
	const outs = G.nodes.filter(d => d.kind === "logit").sort((a, b) => (b.prob || 0) - (a.prob || 0)), info = G.meta.info || {};
	return [
		el("h2", {}, G.name), info.description ? el("p", { class: "note" }, String(info.description)) : null,
		el("div", { class: "prompt" }, G.tokens.length ? G.tokens.map((t, i) => el("span", { class: "tok" + (i === view.column ? " at" : ""), title: "token " + i, onclick: () => selectColumn(i) }, t === "" ? "∅" : t.replace(/\n/g, "⏎\n"))) : String(G.meta.prompt || "")),
		outs.length ? [el("h3", {}, "It says"), list(outs, 10, d => {
			const b = row(d);
			b.querySelector(".where").textContent = d.prob ? percent(d.prob) : "";
			b.append(el("span", { class: "track" }, el("i", { style: `width:${100 * (d.prob || 0)}%;background:var(--accent)` })));
			return b;
		})] : null,
		el("h3", {}, "Influence", el("span", {}, G.computed ? "worked out here from the links" : "")),
		shares([["features", of("feature") / all, "var(--node)"], ["tokens", of("embedding") / all, "var(--accent)"], ["errors", of("error") / all, "var(--faint)"], ["others", of("other") / all, "var(--mark)"]]),
		facts([
			["model", r.model || G.meta.scan], ["nodes", count(G.nodes.length)], ["links", count(G.n) + (G.lost ? ` and ${count(G.lost)} to nodes that the file lacks` : "")],
			r.replacement_score !== undefined && ["replacement", num(r.replacement_score)], r.completeness_score !== undefined && ["completeness", num(r.completeness_score)],
			r.validation && ["ablations agree", num(r.validation.rank_correlation) + " (rank correlation)"], r.stopped && ["stopped early", "yes"],
		]),
		el("div", { class: "tools" }, el("button", { id: "pin-strongest", title: "Pin the 16 features of greatest influence, the first target and the tokens that lead there", onclick: pinStrongest }, "Pin the strongest"), el("button", { onclick: showHelp }, "How to")),
		el("h3", {}, "Features of greatest influence"), list(G.strongest.filter(d => d.kind === "feature" || d.kind === "other"), 24, d => {
			const b = row(d);
			b.append(el("span", { class: "track" }, el("i", { style: `width:${100 * d.share / G.top}%;background:var(--node)` })));
			return b;
		}),
	];
}

/* All nodes at a token. */
function columnPanel(i) {
	const here = G.nodes.filter(d => d.col === i && shown(d)).sort((a, b) => b.share - a.share);
	return [el("h2", {}, "Token " + i + " “" + visible(G.tokens[i] || "") + "”"), el("h3", {}, "Nodes here, by influence"), list(here, 60, d => row(d))];
}

function panel() {
	const p = $("panel"), parts = state.box ? superPanel(state.box) : state.node ? nodePanel(state.node) : view.column >= 0 ? columnPanel(view.column) : overviewPanel();
	p.replaceChildren(...parts.flat(9).filter(Boolean));
	p.scrollTop = 0;
}
