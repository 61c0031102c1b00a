/* state.js: what is looked at, in the URL behind #, under Neuronpedia's names
 * where it has them. */

const ELEMENTS = Array.from(document.querySelectorAll("script.graph"));
const GRAPHS = ELEMENTS.map(() => null);	/* read when first shown */
const NAMES = ELEMENTS.map(e => JSON.parse(/^\{"name":("(?:[^"\\]|\\.)*")/.exec(e.textContent)[1]));
const $ = id => document.getElementById(id);

let G;			/* the graph shown */
const state = {
	graph: -1,
	node: null,	/* the selected node, */
	box: null,	/* or the selected supernode */
	pinned: [],	/* nodes, in the order they were pinned */
	supers: [],	/* {name, nodes}: every node pinned, in one of them at most */
	names: new Map(),	/* nameKey -> label given here */
	where: new Map(),	/* box -> [x, y] in shares of the picture, when dragged */
	links: 0,	/* how many are shown */
	measure: "weight",
	influence: 1,
	errors: true,
	dark: false,
	zoom: null,	/* [scale, x, y] as d3 has it, in shares of the size */
};

const title = d => state.names.get(nameKey(d)) || plainTitle(d);
function plainTitle(d) {
	const token = visible(G.tokens[d.col] || "");
	if (d.kind === "logit") return visible(quoted(d.clerp)) || "output";
	if (d.clerp) return d.clerp;
	if (d.about && d.about.label) return d.about.label;
	if (d.kind === "embedding") return "“" + token + "”";
	if (d.kind === "error") return "error at “" + token + "”";
	return hint(d.about) || (d.latent ? "#" + d.latent.split("_")[1] : d.id);
}
const layerName = row => row < 0 ? "Emb" : row >= G.last ? "Out" : "L" + row;

function shown(d) {
	return d.pin || d.kind === "logit" || d.kind === "embedding" ||
		(d.inf === null || d.inf <= state.influence + 1e-9) && (d.kind !== "error" || state.errors);
}
const strength = k => Math.abs((state.measure === "share" ? G.P : G.W)[k]);
const ranking = () => state.measure === "share" ? G.byShare : G.byWeight;

/* ---- pins and supernodes ---- */

function pin(d, on = !d.pin) {
	if (on === !!d.pin) return;
	d.pin = on;
	if (on) {
		state.pinned.push(d);
		return;
	}
	state.pinned = state.pinned.filter(p => p !== d);
	leave(d);
}
function leave(d) {
	if (!d.sup) return;
	d.sup.nodes = d.sup.nodes.filter(p => p !== d);
	if (!d.sup.nodes.length) dissolve(d.sup);
	d.sup = null;
}
function dissolve(s) {
	for (const d of s.nodes) d.sup = null;
	state.supers = state.supers.filter(x => x !== s);
	if (state.box === s) state.box = null;
}
function unite(nodes, name) {
	for (const d of nodes) {
		pin(d, true);
		leave(d);
	}
	const s = { name, nodes };
	for (const d of nodes) d.sup = s;
	state.supers.push(s);
	return s;
}
function clearPins() {
	for (const d of state.pinned) d.pin = d.sup = null;
	state.pinned = [];
	state.supers = [];
	state.where.clear();
	state.box = null;
}

/* ---- as Neuronpedia has it ---- */

const boxKey = b => b.nodes ? "supernode " + b.name : b.id;

function qParams() {
	const clerps = [];
	for (const d of G.nodes)
		if (state.names.has(nameKey(d))) clerps.push([clerpKey(d), state.names.get(nameKey(d))]);
	return {
		linkType: "both",
		pinnedIds: state.pinned.map(d => d.id),
		clickedId: state.node ? state.node.id : "",
		supernodes: state.supers.map(s => [s.name, ...s.nodes.map(d => d.id)]),
		clerps,
		pruningThreshold: state.influence,
		sg_pos: "",
	};
}
const listed = v => Array.isArray(v) ? v : typeof v === "string" && v.trim().startsWith("[") ? JSON.parse(v) : [];

/* Takes over what q has of the above; ids may be a file's node_id or jsNodeId. */
function applyParams(q) {
	const node = id => G.byId.get(String(id));
	if (q.pinnedIds !== undefined && q.pinnedIds !== null || q.supernodes) {
		clearPins();
		const ids = Array.isArray(q.pinnedIds) ? q.pinnedIds : String(q.pinnedIds || "").split(",");
		for (const id of ids) if (node(id)) pin(node(id), true);
		for (const [name, ...ids] of listed(q.supernodes)) {
			const nodes = ids.map(node).filter(d => d && !d.sup);
			if (nodes.length) unite(nodes, String(name));
		}
	}
	for (const pair of listed(q.clerps)) {
		const [key, label] = Array.isArray(pair) ? pair : [];
		for (const d of G.nodes)
			if (typeof label === "string" && (clerpKey(d) === key || d.id === key || d.js === key || String(d.feature) === key))
				state.names.set(nameKey(d), label);
	}
	if (q.clickedId) select(node(q.clickedId) || null, false);
	const t = parseFloat(q.pruningThreshold);
	if (t > 0) state.influence = Math.min(t, 1);
}

/* ---- the URL ---- */

/* As many links as the eye takes in. */
const usual = () => Math.min(G.n, Math.max(150, Math.round(G.n * .03)), 1500);

function hashText() {
	const p = new URLSearchParams(), q = qParams();
	if (ELEMENTS.length > 1) p.set("slug", G.name);
	if (q.clickedId) p.set("clickedId", q.clickedId);
	p.set("pinnedIds", q.pinnedIds.join(","));
	if (q.supernodes.length) p.set("supernodes", JSON.stringify(q.supernodes));
	if (q.clerps.length) p.set("clerps", JSON.stringify(q.clerps));
	if (state.influence < 1) p.set("pruningThreshold", +state.influence.toFixed(4));
	if (state.links !== usual()) p.set("links", state.links);
	if (state.measure !== "weight") p.set("by", state.measure);
	if (!state.errors) p.set("errors", "0");
	if (state.zoom) p.set("zoom", state.zoom.map(v => +v.toFixed(4)).join(","));
	if (state.where.size) p.set("boxes", JSON.stringify(Array.from(state.where, ([b, v]) => [b, ...v.map(x => +x.toFixed(3))])));
	p.set("theme", state.dark ? "dark" : "light");
	return p.toString();
}
let saving = 0;
function save() {
	clearTimeout(saving);
	saving = setTimeout(saveNow, 250);
}
function saveNow() {
	clearTimeout(saving);
	history.replaceState(null, "", "#" + hashText());
}

/* The graph that the URL names, with all that it says. */
function restore() {
	const p = new URLSearchParams(location.hash.slice(1));
	const i = Math.max(0, NAMES.indexOf(p.get("slug")));
	open(i, Object.fromEntries(p));
}

function open(i, p = {}) {
	if (state.graph >= 0) clearPins();
	state.graph = i;
	G = GRAPHS[i] = GRAPHS[i] || readGraph(ELEMENTS[i]);
	state.node = state.box = state.zoom = null;
	state.names.clear();
	state.influence = 1;
	state.measure = p.by === "share" ? "share" : "weight";
	state.errors = p.errors !== "0";
	state.links = usual();
	if (p.links !== undefined && +p.links >= 0) state.links = Math.min(G.n, Math.round(+p.links));
	if (p.theme) state.dark = p.theme === "dark";
	for (const q of [G.q, p])
		try {
			applyParams(q);
		} catch (e) {
			note("Part of what the link says could not be read: " + e.message);
		}
	const z = (p.zoom || "").split(",").map(Number);
	if (z.length === 3 && z.every(isFinite) && z[0] >= 1) state.zoom = z;
	try {
		for (const [b, x, y] of listed(p.boxes)) if (isFinite(x) && isFinite(y)) state.where.set(String(b), [+x, +y]);
	} catch (e) { /* boxes are then arranged */ }
	showAll();
}
