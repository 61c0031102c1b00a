/* group.js: the picture of what is pinned: nodes and supernodes as boxes, the
 * links between their members added up. */

const marked = new Set();	/* boxes to be grouped */

const boxes = () => [...state.supers, ...state.pinned.filter(d => !d.sup)];
const boxTitle = b => b.nodes ? b.name : title(b);

/* Between each two boxes: w, the sum of the links' weights; share, what they are
 * of all that goes into the members of the second. */
function sumLinks(all) {
	const of = new Int32Array(G.nodes.length).fill(-1), into = [], found = new Map();
	all.forEach((b, i) => {
		into[i] = 0;
		for (const d of b.nodes || [b]) {
			of[d.i] = i;
			into[i] += d.inSum;
		}
	});
	for (const d of state.pinned)
		for (const k of d.ins) {
			const s = of[G.S[k]], t = of[G.T[k]];
			if (s < 0 || t < 0 || s === t) continue;
			const key = s * all.length + t, x = found.get(key) || { from: all[s], to: all[t], w: 0, n: 0 };
			x.w += G.W[k];
			x.n++;
			found.set(key, x);
			x.share = x.w / (into[t] || 1);
		}
	const size = x => Math.abs(state.measure === "share" ? x.share : x.w);
	return Array.from(found.values()).sort((a, b) => size(b) - size(a));
}

/* Up to two lines of at most n characters. */
function wrap(s, n) {
	const lines = [""];
	for (const word of s.split(/\s+/)) {
		const last = lines.length - 1;
		if (!lines[last] || (lines[last] + " " + word).length <= n) lines[last] += (lines[last] ? " " : "") + word;
		else if (lines.length < 2) lines.push(word);
		else lines[1] += " " + word;
	}
	return lines.map(l => clip(l, n));
}

/* Places: where they were dragged to, else by token and layer, pushed apart. */
function arrange(all, W, H) {
	const mean = (b, f) => b.nodes ? d3.mean(b.nodes, f) : f(b);
	const rows = all.map(b => mean(b, d => d.row)), levels = Array.from(new Set(rows)).sort((a, b) => a - b);
	const x = d3.scale.linear().domain(d3.extent(all, b => mean(b, d => d.x))).range([.1 * W, .9 * W]);
	const items = all.map((b, i) => {
		const lines = wrap(boxTitle(b), 24), w = Math.max(64, 7 * Math.max(...lines.map(l => l.length)) + 20), h = 24 + 14 * lines.length;
		const level = levels.length > 1 ? (levels.indexOf(rows[i]) / (levels.length - 1) + (rows[i] - levels[0]) / (levels[levels.length - 1] - levels[0])) / 2 : .5;
		const at = state.where.get(boxKey(b)), px = x(mean(b, d => d.x));
		return { b, lines, w, h, fixed: !!at, x: at ? at[0] * W : isFinite(px) ? px : W / 2, y: at ? at[1] * H : H - h / 2 - 6 - level * (H - h - 12) };
	});
	for (let turn = 0; turn < 300; turn++) {
		let moved = false;
		for (let i = 0; i < items.length; i++)
			for (let j = 0; j < i; j++) {
				const a = items[i], b = items[j], gx = 16, gy = 20;
				const ox = (a.w + b.w) / 2 + gx - Math.abs(a.x - b.x), oy = (a.h + b.h) / 2 + gy - Math.abs(a.y - b.y);
				if (ox <= 0 || oy <= 0 || a.fixed && b.fixed) continue;
				moved = true;
				const along = ox < oy * 1.6 ? "x" : "y", by = (along === "x" ? ox : oy) / 2 + .5, way = a[along] < b[along] || a[along] === b[along] && i < j ? -1 : 1;
				if (!a.fixed) a[along] += way * by * (b.fixed ? 2 : 1);
				if (!b.fixed) b[along] -= way * by * (a.fixed ? 2 : 1);
			}
		for (const a of items) {
			a.x = Math.max(a.w / 2 + 4, Math.min(W - a.w / 2 - 4, a.x));
			a.y = Math.max(a.h / 2 + 4, Math.min(H - a.h / 2 - 4, a.y));
		}
		if (!moved) break;
	}
	return items;
}

let subItems = [], subLinks = [], subSize = [1, 1];

function drawSub() {
	const section = $("sub"), none = !state.pinned.length;
	if (section.hidden !== none) {
		section.hidden = none;
		measureView();
	}
	for (const b of marked) if (!boxes().includes(b)) marked.delete(b);
	if (none) return;
	const all = boxes(), rect = $("svg").getBoundingClientRect(), sums = sumLinks(all);
	const w = Math.max(200, rect.width), h = Math.max(100, rect.height), f = Math.max(1, Math.sqrt(all.length * 170 * 64 / (.42 * w * h)));
	subSize = [w * f, h * f];
	subItems = arrange(all, ...subSize);
	const at = new Map(subItems.map(i => [i.b, i]));
	subLinks = sums.slice(0, Math.max(24, 4 * all.length)).map(x => ({ ...x, a: at.get(x.from), z: at.get(x.to) }));
	$("sub-said").textContent = `${count(state.pinned.length)} nodes, ${count(state.supers.length)} supernodes; ` +
		(subLinks.length < sums.length ? `the strongest ${subLinks.length} of ${sums.length} links` : `${sums.length} links`) + (marked.size ? `; ${marked.size} marked` : "");
	$("group").disabled = marked.size < 1;
	$("ungroup").disabled = !state.box && !Array.from(marked).some(b => b.nodes);
	renderSub();
}

function renderSub() {
	const size = x => Math.abs(state.measure === "share" ? x.share : x.w), most = d3.max(subLinks, size) || 1;
	const svg = d3.select("#svg").attr("viewBox", `0 0 ${subSize[0]} ${subSize[1]}`);
	svg.selectAll("*").remove();
	const defs = svg.append("defs");
	for (const c of ["pos", "neg"])
		defs.append("marker").attr({ id: "arrow-" + c, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 8, markerHeight: 8, markerUnits: "userSpaceOnUse", orient: "auto" })
			.append("path").attr("d", "M0 0L8 4L0 8Z").style("fill", `var(--${c})`);
	const lines = svg.append("g").selectAll("path").data(subLinks.slice().reverse()).enter().append("path").attr("class", "line")
		.attr("marker-end", x => `url(#arrow-${x.w < 0 ? "neg" : "pos"})`)
		.style("stroke", x => `var(--${x.w < 0 ? "neg" : "pos"})`).style("stroke-width", x => 1 + 6 * size(x) / most).style("stroke-opacity", x => .25 + .6 * size(x) / most);
	lines.append("title").text(x => `${boxTitle(x.from)} → ${boxTitle(x.to)}: ${signed(x.w)}, ${percent(Math.abs(x.share))} of its input, ${count(x.n)} links`);
	const sums = svg.append("g").selectAll("text").data(readable(subLinks.filter(x => size(x) > .05 * most))).enter().append("text").attr("class", "sum")
		.text(x => state.measure === "share" ? signed(100 * x.share) + " %" : signed(x.w)).style("fill", x => `var(--${x.w < 0 ? "neg" : "pos"})`);
	const g = svg.append("g").selectAll("g").data(subItems).enter().append("g")
		.attr("class", i => "box" + (marked.has(i.b) ? " marked" : "") + (state.box === i.b || state.node && (i.b === state.node || i.b === state.node.sup) ? " chosen" : ""));
	g.filter(i => i.b.nodes).append("rect").attr({ x: i => -i.w / 2 + 4, y: i => -i.h / 2 + 4, width: i => i.w, height: i => i.h, rx: 7 });
	g.append("rect").attr("class", "frame").attr({ x: i => -i.w / 2, y: i => -i.h / 2, width: i => i.w, height: i => i.h, rx: 7 });
	g.filter(i => i.b.nodes).append("rect").attr({ x: i => -i.w / 2, y: i => -i.h / 2, width: 6, height: i => i.h, rx: 3 }).style({ fill: i => superColor(i.b), stroke: "none" });
	g.each(function (i) {
		const box = d3.select(this);
		i.lines.forEach((l, n) => box.append("text").attr({ x: 0, y: -i.h / 2 + 17 + 14 * n, "text-anchor": "middle" }).text(l));
		box.append("text").attr({ class: "small", x: 0, y: i.h / 2 - 6, "text-anchor": "middle" }).text(i.b.nodes ? i.b.nodes.length + " nodes" : place_(i.b));
		box.append("title").text(boxTitle(i.b) + "\nshift-click marks it for grouping");
	});
	const put = () => {
		g.attr("transform", i => `translate(${i.x},${i.y})`);
		lines.attr("d", route);
		sums.attr("x", x => middle(x)[0]).attr("y", x => middle(x)[1]);
	};
	put();
	let dragged = false;
	g.call(d3.behavior.drag().origin(i => i).on("dragstart", () => { dragged = false; }).on("drag", i => {
		dragged = true;
		i.x = Math.max(i.w / 2, Math.min(subSize[0] - i.w / 2, d3.event.x));
		i.y = Math.max(i.h / 2, Math.min(subSize[1] - i.h / 2, d3.event.y));
		state.where.set(boxKey(i.b), [i.x / subSize[0], i.y / subSize[1]]);
		put();
	}).on("dragend", () => { if (dragged) save(); }));
	g.on("click", i => {
		if (d3.event.defaultPrevented || dragged) return;
		if (d3.event.shiftKey) {
			if (!marked.delete(i.b)) marked.add(i.b);
			drawSub();
		} else choose(i.b);
	}).on("mouseenter", i => {
		const near = x => x.from === i.b || x.to === i.b, with_ = new Set(subLinks.filter(near).flatMap(x => [x.from, x.to]).concat(i.b));
		lines.classed("dim", x => !near(x));
		sums.classed("dim", x => !near(x));
		g.classed("dim", j => !with_.has(j.b));
	}).on("mouseleave", () => {
		lines.classed("dim", false);
		sums.classed("dim", false);
		g.classed("dim", false);
	});
}

/* From the upper edge of a box to the lower edge of one above it; sidewards when
 * they stand beside each other. */
function ends(x) {
	const { a, z } = x, up = a.y - a.h / 2 > z.y + z.h / 2, down = a.y + a.h / 2 < z.y - z.h / 2, way = a.x < z.x ? 1 : -1;
	if (up || down) return [a.x + (z.x - a.x) * .12, a.y + (up ? -1 : 1) * a.h / 2, z.x + (a.x - z.x) * .12 * Math.min(1, z.w / 2 / Math.abs(a.x - z.x || 1)), z.y + (up ? 1 : -1) * (z.h / 2 + 2), true];
	return [a.x + way * a.w / 2, a.y, z.x - way * (z.w / 2 + 2), z.y, false];
}
function route(x) {
	const [x0, y0, x1, y1, upright] = ends(x), bend = upright ? (y1 - y0) * .4 : (x1 - x0) * .4;
	const from = Math.max(x.a.x - x.a.w / 2 + 8, Math.min(x.a.x + x.a.w / 2 - 8, x0)), to = Math.max(x.z.x - x.z.w / 2 + 8, Math.min(x.z.x + x.z.w / 2 - 8, x1));
	return upright ? `M${from} ${y0}C${from} ${y0 + bend} ${to} ${y1 - bend} ${to} ${y1}` : `M${x0} ${y0}C${x0 + bend} ${y0} ${x1 - bend} ${y1} ${x1} ${y1}`;
}
/* Those links whose sums do not hide each other or a box, strongest first. */
function readable(links) {
	const taken = subItems.map(i => [i.x, i.y, i.w / 2 + 12, i.h / 2 + 5]);
	return links.filter(x => {
		const [mx, my] = middle(x);
		if (taken.some(([tx, ty, w, h]) => Math.abs(mx - tx) < w + 14 && Math.abs(my - 4 - ty) < h + 5)) return false;
		taken.push([mx, my - 4, 18, 4]);
		return true;
	});
}
function middle(x) {
	const [x0, y0, x1, y1] = ends(x);
	return [(x0 + x1) / 2, (y0 + y1) / 2 + 4];
}

/* ---- what is done to it ---- */

function choose(b) {
	if (!b.nodes) return select(b);
	state.box = b;
	state.node = null;
	changed();
}
function groupMarked() {
	const nodes = Array.from(marked).flatMap(b => b.nodes || [b]);
	if (!nodes.length) return note("Shift-click boxes of the pinned picture to mark them, then group.");
	const named = Array.from(marked).find(b => b.nodes), strongest = nodes.slice().sort((a, b) => b.share - a.share)[0];
	const s = unite(nodes, named ? named.name : title(strongest));
	marked.clear();
	state.box = s;
	state.node = null;
	changed();
	$("rename").select();
}
function ungroupChosen() {
	const s = state.box || Array.from(marked).find(b => b.nodes) || state.node && state.node.sup;
	if (!s) return;
	dissolve(s);
	changed();
}
function pinStrongest() {
	const features = G.strongest.filter(d => d.kind === "feature" || d.kind === "other").slice(0, 16);
	const outs = G.nodes.filter(d => d.kind === "logit").sort((a, b) => (b.prob || 0) - (a.prob || 0)).slice(0, 1);
	for (const d of [...outs, ...features]) pin(d, true);
	for (const d of G.strongest.filter(d => d.kind === "embedding").slice(0, 4)) pin(d, true);
	changed();
}
