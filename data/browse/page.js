'use strict';
// The program of r1browse's pages. Data come as calls of R1.* from scripts in
// data/, put into the page when they are wanted: a page from a disk may load
// scripts, but not files. Text of the data becomes text nodes, never markup.
(() => {

const PARTS = ['prompt', 'thinking', 'answer', 'text'];
const have = { corpus: null, vocab: null, layers: new Map(), parts: new Map() };
window.R1 = {
	corpus(x) { have.corpus = x; },
	vocab(x) { have.vocab = x; },
	layer(l, x) { have.layers.set(l, x); },
	latents(l, k, x) {
		have.parts.set(l + '/' + k, x);
		if (have.parts.size > 40)	// the oldest goes
			have.parts.delete(have.parts.keys().next().value);
	},
};

// ---- loading --------------------------------------------------------------------

const under_way = new Map();
function load(name) {
	if (!under_way.has(name))
		under_way.set(name, new Promise((done, fail) => {
			const s = document.createElement('script');
			s.src = 'data/' + name + '.js';
			s.onload = () => { s.remove(); under_way.delete(name); done(); };
			s.onerror = () => {
				s.remove();
				under_way.delete(name);
				fail(new Error('data/' + name + '.js cannot be read: is the folder whole?'));
			};
			document.head.append(s);
		}));
	return under_way.get(name);
}

async function layer(l) {
	if (!have.layers.has(l))
		await load(l + '/index');
	return have.layers.get(l);
}

async function latent(l, i) {
	const k = Math.floor(i / have.corpus.per_file), key = l + '/' + k;
	if (!have.parts.has(key))
		await load(key);
	return have.parts.get(key)[i - k * have.corpus.per_file];
}

// ---- making elements --------------------------------------------------------------

function el(tag, attrs, ...inside) {
	const e = document.createElement(tag);
	for (const [k, v] of Object.entries(attrs || {}))
		if (k.startsWith('on')) e.addEventListener(k.slice(2), v);
		else if (v !== null && v !== undefined && v !== false) e.setAttribute(k, v);
	e.append(...inside.filter(x => x !== null && x !== undefined));
	return e;
}

function svg(tag, attrs) {
	const e = document.createElementNS('http://www.w3.org/2000/svg', tag);
	for (const [k, v] of Object.entries(attrs)) e.setAttribute(k, v);
	return e;
}

const short = x => x === null || x === undefined ? '' : x === 0 ? '0'
	: Math.abs(x) >= 1e5 || Math.abs(x) < 1e-3 ? x.toExponential(1) : String(+x.toPrecision(3));
const percent = x => x === null || x === undefined ? '' : x > 0 && x < 1e-4 ? (100 * x).toExponential(1) + ' %'
	: +(100 * x).toPrecision(3) + ' %';
const count = x => x.toLocaleString('en');

// ---- text of tokens -------------------------------------------------------------------

// What cannot be seen, or would move what stands beside it.
const hidden = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\ufff9-\ufffb\ud800-\udfff]|[\u{e0000}-\u{e0fff}]/u;
const named = { '\n': '\u21b5', '\t': '\u21e5', '\r': '\u240d' };

// A text as nodes, the signs that stand for something in <i>.
function shown(text) {
	const out = [];
	for (const c of text) {
		if (!hidden.test(c)) {
			if (typeof out[out.length - 1] === 'string') out[out.length - 1] += c;
			else out.push(c);
			continue;
		}
		const code = c.codePointAt(0);
		out.push(el('i', null, named[c] || (code < 32 ? String.fromCodePoint(0x2400 + code)
			: code >= 0xdc80 && code <= 0xdcff ? '\u27e8' + (code - 0xdc00).toString(16).toUpperCase() + '\u27e9'
			: '\u27e8U+' + code.toString(16).toUpperCase().padStart(4, '0') + '\u27e9')));
	}
	// a mark that would sit on what stands in front
	if (typeof out[0] === 'string' && /^\p{M}/u.test(out[0])) out[0] = '\u25cc' + out[0];
	return out;
}

const token = id => have.vocab[id] === undefined ? '' : have.vocab[id];
const chip = id => el('span', { class: 'tok', title: 'token ' + id }, ...shown(token(id)));

// Texts of the tokens of a context. A character that several tokens share stands
// at the first, the others are empty.
function texts(ids) {
	const flat = [];
	ids.forEach((id, at) => { for (const c of token(id)) flat.push([at, c]); });
	const out = ids.map(() => '');
	for (let i = 0; i < flat.length; i++) {
		const [at, c] = flat[i], lead = c.charCodeAt(0) - 0xdc00;
		const more = lead >= 0xc2 && lead < 0xe0 ? 1 : lead >= 0xe0 && lead < 0xf0 ? 2
			: lead >= 0xf0 && lead < 0xf5 ? 3 : 0;
		if (c.length === 1 && more && i + more < flat.length) {
			const bytes = flat.slice(i, i + more + 1).map(x => x[1].charCodeAt(0) - 0xdc00);
			try {
				if (bytes.some(b => b < 0x80 || b > 0xff)) throw 0;
				out[at] += new TextDecoder('utf-8', { fatal: true }).decode(new Uint8Array(bytes));
				i += more;
				continue;
			} catch (_) { /* bytes that mean nothing: shown one by one */ }
		}
		out[at] += c;
	}
	return out;
}

const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
function unpack(s) {
	const w = have.corpus.width, out = [];
	for (let i = 0; i + w <= s.length; i += w) {
		let v = 0;
		for (let j = 0; j < w; j++) v = v * 64 + digits.indexOf(s[i + j]);
		out.push(v);
	}
	return out;
}

// ---- charts -----------------------------------------------------------------------------

function bars(values, say) {
	const most = Math.max(...values, 0) || 1, n = Math.max(values.length, 1);
	const s = svg('svg', { class: 'chart', viewBox: `0 0 ${n} 1`, preserveAspectRatio: 'none', role: 'img' });
	values.forEach((v, i) => {
		const h = v > 0 ? Math.max(v / most, 0.012) : 0;
		const r = svg('rect', { x: i + 0.06, y: 1 - h, width: 0.88, height: h });
		const t = svg('title', {});
		t.textContent = say(i, v);
		r.append(t);
		s.append(r);
	});
	return s;
}

function chart(values, left, right, say) {
	return el('div', null, bars(values, say),
		el('div', { class: 'axis' }, el('span', null, left), el('span', null, right)));
}

const edge = i => 2 ** (Math.floor(i / 8) - 12) * (1 + i % 8 / 8);
const octave = i => i === 0 ? '0' : i === 1 ? '1' : `${2 ** (i - 1)} to ${2 ** i - 1}`;
const at_most = n => n <= 1 ? 0 : 2 ** (n - 1) - 1;
const frequencies = f => Array.from({ length: 12 }, (_, i) => f[i] || 0);
const frequency_bin = (i, n) => (i ? `10^${-6 + i / 2} to 10^${-5.5 + i / 2}` : 'below 10^-5.5') + `: ${n} latents`;
const per = (a, b) => b.map((n, i) => n ? (a[i] || 0) / n : 0);

// ---- addresses ------------------------------------------------------------------------------

function where() {
	const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
	const p = path.split('/').filter(x => x !== '');
	return { layer: p[0] === 'all' ? 'all' : p.length ? Number(p[0]) : null,
		latent: p.length > 1 ? Number(p[1]) : null, query: new URLSearchParams(query || '') };
}
const href = (l, i) => '#/' + l + (i === undefined || i === null ? '' : '/' + i);
const main = document.getElementById('main'), find = document.getElementById('find');
let keys = {};		// what j, k, u and Enter do here

// ---- the first page ---------------------------------------------------------------------------

function facts(list) {
	return el('div', { class: 'facts' }, ...list.filter(x => x[1] !== '' && x[1] !== undefined)
		.map(([name, value]) => el('div', null, el('b', null, value), el('span', null, name))));
}

function home() {
	const c = have.corpus;
	const names = ['layer', 'latents', 'never fired', 'labelled', 'mean L0', 'latents by frequency, below 10^-5.5 to 1'];
	const where = c.by_mask.map((n, i) => n ? `${percent(n / c.positions)} ${PARTS[i]}` : '').filter(x => x).join(', ');
	main.append(el('h1', null, c.title),
		facts([['latents', count(c.layers.length * c.n_latents)], ['layers', c.layers.length],
			['labelled', count(c.layers.reduce((s, l) => s + l.labelled, 0))],
			['never fired', count(c.layers.reduce((s, l) => s + l.dead, 0))],
			['tokens', count(c.positions)], ['documents', count(c.documents)], ['k', c.k]]),
		el('p', { class: 'dim' }, 'Model ', ...shown(c.model_name), ', transcoders ' + c.transcoders.slice(0, 12)
			+ '; tokens: ' + where + '.'),
		el('p', null, el('a', { href: '#/all?show=labelled' }, 'all labelled latents'), ', ',
			el('a', { href: '#/all' }, 'all latents')),
		el('div', { class: 'layers', role: 'table' },
			el('div', { class: 'row head', role: 'row' }, ...names.map((n, i) =>
				el('span', { class: 'c' + i + (i && i < 5 ? ' num' : ''), role: 'columnheader' }, n))),
			...c.layers.map(l => el('div', { class: 'row', role: 'row' },
				el('a', { href: href(l.layer), class: 'c0', role: 'cell' }, 'layer ' + l.layer),
				...[count(c.n_latents), count(l.dead), count(l.labelled), short(l.l0)].map((x, i) =>
					el('span', { class: 'num c' + (i + 1), role: 'cell' }, x)),
				el('span', { class: 'c5', role: 'cell' }, bars(frequencies(l.freq), frequency_bin))))));
	keys = { j: () => { location.hash = href(c.layers[0].layer); } };
}

// ---- tables of latents -----------------------------------------------------------------------------

const columns = [
	['latent', r => r.layer * 1e7 + r.row[0], 1],
	['frequency', r => r.row[1] || 0, -1],
	['max', r => r.row[2] || 0, -1],
	['label or tokens', r => r.row[8] || '\uffff', 1],
	['tags', r => (r.row[9] && r.row[9] !== 'none' ? '' : '\uffff') + (r.row[9] || '\uffff'), 1],
	['score', r => r.row[10] ?? -1, -1],
	['think', r => r.row[5] ?? -1, -1],
	['answer', r => r.row[6] ?? -1, -1],
	['spread', r => r.row[7] ?? -1, -1],
];
const hints = ['', 'share of the tokens on which it fires', 'its greatest activation',
	'its label; without one the tokens it is strongest on, then those that it makes likelier', 'steps of reasoning',
	'mean balanced accuracy of tests of the label; 0.5 by chance', 'share of its firings inside <think>',
	'share of its firings inside answers',
	'entropy of its firings over documents, of what all tokens have: near 0 in few documents, near 1 everywhere alike'];
const shows = {
	all: () => true, alive: r => r.length > 1, labelled: r => r.length > 8, 'not labelled': r => r.length === 8,
	'tagged': r => r.length > 8 && r[9] && r[9] !== 'none', 'never fired': r => r.length === 1,
	'only in thinking': r => r[5] > 0.99, 'only in answers': r => r[6] > 0.99,
};

function hay(r) {
	if (r.hay === undefined)
		r.hay = [r.layer + '/' + r.row[0], r.row[8], r.row[9], ...(r.row[3] || []).map(token),
			...(r.row[4] || []).map(token)].join('\n').toLowerCase();
	return r.hay;
}

const rows_of = new Map();	// layer: its rows, with what was made of them
async function rows(l) {
	if (!rows_of.has(l))
		rows_of.set(l, (await layer(l)).rows.map(row => ({ layer: l, row })));
	return rows_of.get(l);
}

const ROW = 30;
let last_list = null;		// the order a latent was reached by, for j and k

function line(r, at) {
	const d = r.row, dead = d.length === 1;
	const name = d[8] ? el('a', { href: href(r.layer, d[0]), class: 'c3' }, ...shown(d[8]))
		: el('span', { class: 'c3' }, ...(dead ? ['never fired'] : [...d[3].map(chip), ' \u2192 ', ...d[4].map(chip)]));
	const cell = (i, text) => el('span', { class: 'num c' + i, role: 'cell' }, text);
	if (dead) name.classList.add('dim');
	name.setAttribute('role', 'cell');
	return el('div', { class: 'row', role: 'row', style: `top:${at * ROW}px`, 'data-at': at },
		el('a', { href: href(r.layer, d[0]), class: 'c0', role: 'cell' }, r.layer + '/' + d[0]),
		cell(1, dead ? '' : percent(d[1] / have.corpus.positions)), cell(2, dead ? '' : short(d[2])), name,
		el('span', { class: 'c4', role: 'cell' }, ...(d[9] && d[9] !== 'none' ? d[9].split(' ').map(t =>
			el('span', { class: 'chip' }, t)) : [])),
		cell(5, d[10] === null || d[10] === undefined ? '' : d[10].toFixed(2)), cell(6, dead ? '' : percent(d[5])),
		cell(7, dead ? '' : percent(d[6])), cell(8, dead ? '' : short(d[7])));
}

async function list(l, query) {
	const c = have.corpus, many = l === 'all' ? c.layers.map(x => x.layer) : [l];
	let all = [];
	for (const x of many) {
		if (many.length > 4 && !rows_of.has(x)) main.replaceChildren(el('p', { class: 'dim' }, `reading layer ${x} ...`));
		all = all.concat(await rows(x));
	}
	main.replaceChildren();
	const tags = [...new Set(all.flatMap(r => (r.row[9] || '').split(' ')))].filter(t => t && t !== 'none').sort();
	let picked = [], now = -1;

	const show = el('select', { 'aria-label': 'which', onchange: () => set('show', show.value === 'all' ? '' : show.value) },
		...Object.keys(shows).map(s => el('option', null, s)));
	const tag = el('select', { 'aria-label': 'tag', onchange: () => set('tag', tag.value) },
		el('option', { value: '' }, 'any tag'), ...tags.map(t => el('option', null, t)));
	const least = el('select', { 'aria-label': 'frequency', onchange: () => set('least', least.value) },
		el('option', { value: '' }, 'any frequency'), ...[0.0001, 0.001, 0.01, 0.1].map(f =>
			el('option', { value: f }, 'at least ' + percent(f))));
	const told = el('span', { class: 'dim', role: 'status' });
	const head = el('div', { class: 'row head', role: 'row' }, ...columns.map(([name], i) =>
		el('span', { class: 'c' + i + (i === 3 || i === 4 || i === 0 ? '' : ' num'), role: 'columnheader' },
			el('button', { title: hints[i], onclick: () => sort_by(i) }, name))));
	const body = el('div', { class: 'rows', role: 'rowgroup' });

	function set(name, value) {
		if (value) query.set(name, value); else query.delete(name);
		const q = query.toString();
		try { history.replaceState(null, '', href(l) + (q ? '?' + q : '')); } catch (_) { /* the address stays */ }
		pick();
	}
	function sort_by(i) {
		const [was, dir] = order();
		const to = was === i ? -dir : columns[i][2];
		set('sort', (to < 0 ? '-' : '') + columns[i][0].split(' ')[0]);
	}
	function order() {
		const s = query.get('sort') || 'latent', i = columns.findIndex(c => c[0].split(' ')[0] === s.replace(/^-/, ''));
		return [i < 0 ? 0 : i, s.startsWith('-') ? -1 : 1];
	}
	function pick() {
		const words = find.value.toLowerCase().split(/\s+/).filter(x => x), want = shows[query.get('show')] || shows.all;
		const t = query.get('tag'), f = Number(query.get('least') || 0) * c.positions, [col, dir] = order();
		const by = columns[col][1];
		picked = all.filter(r => want(r.row) && (!t || (r.row[9] || '').split(' ').includes(t)) && (r.row[1] || 0) >= f
			&& (!words.length || words.every(w => hay(r).includes(w))));
		const key = new Map(picked.map(r => [r, by(r)]));
		picked.sort((a, b) => {
			const x = key.get(a), y = key.get(b);
			return x < y ? -dir : x > y ? dir : a.layer - b.layer || a.row[0] - b.row[0];
		});
		show.value = query.get('show') || 'all';
		tag.value = t || '';
		least.value = query.get('least') || '';
		told.textContent = `${count(picked.length)} of ${count(all.length)}`;
		[...head.children].forEach((h, i) => {
			if (i === col) h.setAttribute('aria-sort', dir > 0 ? 'ascending' : 'descending');
			else h.removeAttribute('aria-sort');
			h.firstChild.textContent = columns[i][0] + (i === col ? dir > 0 ? ' \u2191' : ' \u2193' : '');
		});
		body.style.height = Math.min(picked.length, 1e6) * ROW + 'px';
		now = -1;
		last_list = picked;
		draw(true);
	}
	let from = -1, to = -1;
	function draw(anew) {
		if (!body.isConnected) { removeEventListener('scroll', later); removeEventListener('resize', later); return; }
		const top = body.getBoundingClientRect().top;
		const a = Math.max(0, Math.floor(-top / ROW) - 10);
		const b = Math.min(picked.length, 1e6, Math.ceil((innerHeight - top) / ROW) + 10);
		if (!anew && a === from && b === to) return;
		from = a; to = b;
		body.replaceChildren(...picked.slice(a, b).map((r, i) => line(r, a + i)));
		mark();
	}
	const later = () => requestAnimationFrame(() => draw(false));
	function mark() {
		for (const r of body.children) r.classList.toggle('now', Number(r.dataset.at) === now);
	}
	function move(by) {
		now = Math.min(Math.max(now + by, 0), picked.length - 1);
		const y = body.getBoundingClientRect().top + now * ROW;
		if (y < 100) scrollBy(0, y - 100);
		else if (y > innerHeight - 2 * ROW) scrollBy(0, y - innerHeight + 3 * ROW);
		draw(true);
	}
	find.oninput = () => set('q', find.value);
	if (query.get('q') !== null && find.value !== query.get('q')) find.value = query.get('q');
	main.append(el('h1', null, l === 'all' ? 'all layers' : 'layer ' + l),
		...(l === 'all' ? [] : [about(l)]), el('div', { class: 'bar' }, show, tag, least, told),
		el('div', { class: 'list', role: 'table' }, head, body));
	addEventListener('scroll', later, { passive: true });
	addEventListener('resize', later);
	pick();
	keys = {
		j: () => move(1), k: () => move(-1), u: () => { location.hash = '#/'; },
		Enter: () => { if (picked[now]) location.hash = href(picked[now].layer, picked[now].row[0]); },
	};
}

// What holds of a layer.
function about(l) {
	const c = have.corpus, d = have.layers.get(l), total = d.l0.reduce((s, n) => s + n, 0) || 1;
	const pos = per(d.fired, c.by_pos), sum = per(d.sum, c.by_pos);
	return el('details', query_open(), el('summary', null, 'the layer: active latents, frequencies, positions'),
		el('div', { class: 'cols' },
			el('div', null, el('h3', null, 'active latents on a token (L0)'),
				chart(d.l0, '0', String(d.l0.length - 1), (i, n) => `${i} active: ${percent(n / total)} of tokens`)),
			el('div', null, el('h3', null, 'latents by frequency'),
				chart(frequencies(d.freq), '< 10^-5.5', '1', frequency_bin)),
			el('div', null, el('h3', null, 'active latents by position'),
				chart(pos, '0', String(at_most(pos.length)), (i, v) => `position ${octave(i)}: ${short(v)}`)),
			el('div', null, el('h3', null, 'sum of activations by position'),
				chart(sum, '0', String(at_most(sum.length)), (i, v) => `position ${octave(i)}: ${short(v)}`))));
}
const query_open = () => ({ open: innerWidth > 900 ? '' : null });

// ---- a latent ------------------------------------------------------------------------------------------

function context(x, max) {
	const [seq, doc, pos, part, rank, , at, packed, acts] = x, ids = unpack(packed), text = texts(ids);
	const act = new Map();
	for (let i = 0; i < acts.length; i += 2) act.set(acts[i], acts[i + 1]);
	const told = `sequence ${seq}, document ${doc}, position ${pos}; ${PARTS[part]}; stronger than ${percent(rank)} of its firings`;
	return el('div', { class: 'ctx' }, el('span', { title: told }, short(act.get(at))),
		el('span', null, ...ids.map((id, i) => {
			const v = act.get(i) || 0, r = Math.min(v / max, 1);
			return el('b', { class: [v ? 'on' : '', i === at ? 'peak' : '', r > 0.55 ? 'high' : ''].join(' ').trim() || null,
				style: v ? `--a:${(0.14 + 0.8 * r).toFixed(3)}` : null, 'data-id': id, 'data-v': v || null,
				'data-r': v ? r.toFixed(3) : null },
				...(text[i] === '' ? [el('i', null, '\u25e6')] : shown(text[i])));
		})));
}

function pairs(flat) {
	const out = [];
	for (let i = 0; i + 1 < flat.length; i += 2) out.push([flat[i], flat[i + 1]]);
	return out;
}

function logits(name, flat) {
	return el('div', null, el('h3', null, name), el('table', null, ...pairs(flat).map(([id, v]) =>
		el('tr', null, el('td', { class: 'num' }, short(v)), el('td', null, chip(id))))));
}

function label(x) {
	const scores = Object.keys(x).filter(k => typeof x[k] === 'number' && typeof x[k + '_low'] === 'number');
	const marks = ['quality', 'interestingness', 'confidence'].filter(k => typeof x[k] === 'number');
	return el('div', null, x.explanation ? el('p', null, ...shown(x.explanation)) : null,
		el('p', null, ...(x.tags || '').split(' ').filter(t => t && t !== 'none').map(t => el('span', { class: 'chip' }, t)),
			...scores.map(k => el('span', { class: 'chip', title: '95 % interval; 0.5 by chance'
				+ (k === 'embedding' && x.embedder ? '; by ' + x.embedder : '') },
				`${k} ${x[k].toFixed(2)} (${x[k + '_low'].toFixed(2)} to ${x[k + '_high'].toFixed(2)})`)),
			...marks.map(k => el('span', { class: 'chip', title: 'by the labeller' }, `${k} ${short(x[k])}`))),
		el('p', { class: 'dim' }, ...shown([x.model_name, x.prompt_version].filter(s => s).join(', '))));
}

function shares(w) {
	const n = w.reduce((s, x) => s + x, 0) || 1;
	return el('div', null, el('h3', null, 'where it fires'),
		el('div', { class: 'share' }, ...w.map((x, i) => el('i', { class: 'k' + i, style: `width:${100 * x / n}%` }))),
		el('p', { class: 'axis', style: 'justify-content:flex-start' }, ...w.flatMap((x, i) => x ? [el('span', null,
			el('span', { class: 'key k' + i }), `${PARTS[i]} ${percent(x / n)}`)] : [])));
}

// Contexts under headings, the weakest quantile last.
function sample(list, max) {
	const out = [], groups = new Map();
	for (const x of list) groups.set(x[5], [...(groups.get(x[5]) || []), x]);
	for (const s of [...groups.keys()].sort((a, b) => b - a)) {
		const g = groups.get(s), ranks = g.map(x => x[4]);
		out.push(el('h3', null, `stronger than ${percent(Math.min(...ranks))}`
			+ (g.length > 1 ? ` to ${percent(Math.max(...ranks))}` : '') + ' of its firings'), ...g.map(x => context(x, max)));
	}
	return out;
}

async function one(l, i) {
	const c = have.corpus, [d, index] = await Promise.all([latent(l, i), layer(l)]);
	if (!d) throw new Error(`layer ${l} has no latent ${i}`);
	const near = pairs(d.c || []), labels = d.L || [], step = by => {
		const at = last_list ? last_list.findIndex(r => r.layer === l && r.row[0] === i) : -1, r = at < 0 ? null : last_list[at + by];
		if (r) return href(r.layer, r.row[0]);
		return at < 0 && i + by >= 0 && i + by < c.n_latents ? href(l, i + by) : null;
	};
	const go = by => { const to = step(by); if (to) location.hash = to; };
	const link = (by, text) => step(by) ? el('a', { href: step(by) }, text) : el('span', { class: 'dim' }, text);
	const name = r => r[8] ? r[8] : r.length === 1 ? 'never fired' : null;
	main.replaceChildren(
		el('div', { class: 'bar' }, el('a', { href: href(l) }, 'layer ' + l), link(-1, '\u2190 previous'), link(1, 'next \u2192')),
		el('h1', null, `${l}/${i}`, ...(labels.length ? [': ', ...shown(labels[0].label)] : [])),
		...(labels.length ? [label(labels[0])] : []));
	if (labels.length > 1)
		main.append(el('details', null, el('summary', null, `${labels.length - 1} more label${labels.length > 2 ? 's' : ''}`),
			...labels.slice(1).flatMap(x => [el('h3', null, ...shown(x.label)), label(x)])));
	if (!d.n) main.append(el('p', null, 'It never fired on this corpus.'));
	else {
		const h = d.h.slice(1), pos = per(d.p, c.by_pos);
		main.append(facts([['of tokens', percent(d.n / c.positions)], ['firings', count(d.n)], ['max', short(d.x)],
			['mean where it fires', short(d.m)], ['median', short(d.q[3])], ['90 % are below', short(d.q[5])],
			['bits of entropy over documents', short(d.e[0])], ['spread', short(d.e[1])]]),
			el('div', { class: 'cols' },
				el('div', null, el('h3', null, 'activations'), chart(h, short(edge(d.h[0])), short(edge(d.h[0] + h.length)),
					(b, n) => `${short(edge(d.h[0] + b))} to ${short(edge(d.h[0] + b + 1))}: ${n}`)),
				el('div', null, el('h3', null, 'share of tokens on which it fires, by position'),
					chart(pos, '0', String(at_most(pos.length)), (b, v) => `position ${octave(b)}: ${percent(v)}`)),
				shares(d.w)));
	}
	const cols = el('div', { class: 'cols' });
	if (d.u.length) cols.append(logits('makes likelier (logits)', d.u), logits('makes less likely', d.d));
	if (near.length)
		cols.append(el('div', null, el('h3', null, 'nearest decoders of the layer (cosine)'), el('table', null,
			...near.map(([id, v]) => {
				const r = index.rows[id], n = name(r);
				return el('tr', null, el('td', { class: 'num' }, v.toFixed(2)), el('td', null,
					el('a', { href: href(l, id) }, l + '/' + id), ' ', ...(n ? shown(n) : r[3].slice(0, 3).map(chip))));
			}))));
	main.append(cols);
	if (d.n) {
		main.append(el('h2', null, 'strongest contexts'), ...d.T.map(x => context(x, d.x)));
		if (d.S.length) main.append(el('h2', null, 'drawn from all its firings'), ...sample(d.S, d.x));
	}
	document.title = main.querySelector('h1').textContent + ' \u2013 ' + c.title;
	keys = { j: () => go(1), k: () => go(-1), ArrowRight: () => go(1), ArrowLeft: () => go(-1),
		u: () => { location.hash = href(l); } };
}

// ---- the whole --------------------------------------------------------------------------------------------

function wrong(e) {
	main.replaceChildren(el('p', { class: 'wrong', role: 'alert' }, e.message));
	keys = { u: () => { location.hash = '#/'; } };
}

const scrolls = new Map();	// where each address was left
let was = '';
let turn = 0;
async function render() {
	const w = where(), c = have.corpus, mine = ++turn;
	scrolls.set(was, scrollY);
	was = location.hash;
	tip.hidden = true;
	if (w.latent !== null || w.query.get('q') === null) find.value = w.query.get('q') || '';
	find.oninput = null;
	document.title = c.title;
	select.value = w.layer === null ? '' : String(w.layer);
	document.body.removeAttribute('data-done');
	try {
		if (w.layer !== null && w.layer !== 'all' && !c.layers.some(l => l.layer === w.layer))
			throw new Error('there is no such layer');
		if (w.layer === null) { main.replaceChildren(); home(); }
		else if (w.latent === null) await list(w.layer, w.query);
		else await one(w.layer, w.latent);
	} catch (e) { wrong(e); }
	if (mine !== turn) return;
	scrollTo(0, w.latent === null ? scrolls.get(location.hash) || 0 : 0);
	document.body.setAttribute('data-done', location.hash);
}

const tip = document.getElementById('tip'), select = document.getElementById('layer');
function point(e) {
	const b = e.target.closest && e.target.closest('.ctx b');
	tip.hidden = !b;
	if (!b) return;
	const id = Number(b.dataset.id), v = b.dataset.v;
	tip.replaceChildren(v ? `${short(Number(v))}, ${percent(Number(b.dataset.r))} of its max\n` : 'silent\n',
		`token ${id}: `, ...shown(token(id)));
	const r = b.getBoundingClientRect(), t = tip.getBoundingClientRect();
	tip.style.left = Math.max(4, Math.min(r.left, innerWidth - t.width - 8)) + 'px';
	tip.style.top = (r.top > t.height + 8 ? r.top - t.height - 4 : r.bottom + 4) + 'px';
}

const root = document.documentElement;
const stored = () => { try { return localStorage.getItem('r1browse-theme'); } catch (_) { return null; } };
function theme(t) { root.dataset.theme = t; }
const dark = matchMedia('(prefers-color-scheme: dark)');
theme(stored() || (dark.matches ? 'dark' : 'light'));
dark.addEventListener('change', e => { if (!stored()) theme(e.matches ? 'dark' : 'light'); });
function turn_theme() {
	theme(root.dataset.theme === 'dark' ? 'light' : 'dark');
	try { localStorage.setItem('r1browse-theme', root.dataset.theme); } catch (_) { /* for this page alone */ }
}
function random() {
	const ls = have.corpus.layers, l = ls[Math.floor(Math.random() * ls.length)].layer;
	location.hash = href(l, Math.floor(Math.random() * have.corpus.n_latents));
}
const help = document.getElementById('keys');

function typed(e) {
	if (e.ctrlKey || e.metaKey || e.altKey || help.open) return;
	if (e.target === find) {
		const m = /^\s*(?:(\d+)\s*[/:]\s*)?(\d+)\s*$/.exec(find.value), w = where();
		const l = m && m[1] !== undefined ? Number(m[1]) : w.layer;
		if (e.key === 'Escape') find.blur();
		else if (e.key === 'Enter' && m && typeof l === 'number') { location.hash = href(l, Number(m[2])); find.blur(); }
		else if (e.key === 'Enter' && w.latent !== null || e.key === 'Enter' && w.layer === null)
			location.hash = '#/all?q=' + encodeURIComponent(find.value);
		return;
	}
	if (/^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName)) return;
	const does = { '/': () => { find.focus(); find.select(); }, r: random, t: turn_theme, '?': () => help.showModal() };
	const f = e.key === 'Enter' && e.target.closest('a, button, summary') ? null : keys[e.key] || does[e.key];
	if (f) { e.preventDefault(); f(); }
}

async function start() {
	try {
		await Promise.all([load('corpus'), load('vocab')]);
	} catch (e) { wrong(e); return; }
	select.append(el('option', { value: '' }, 'overview'), el('option', { value: 'all' }, 'all layers'),
		...have.corpus.layers.map(l => el('option', { value: l.layer }, 'layer ' + l.layer)));
	select.onchange = () => { location.hash = select.value === '' ? '#/' : '#/' + select.value; select.blur(); };
	document.getElementById('random').onclick = random;
	document.getElementById('theme').onclick = turn_theme;
	document.getElementById('help').onclick = () => help.showModal();
	document.addEventListener('mouseover', point);
	document.addEventListener('click', point);
	document.addEventListener('keydown', typed);
	addEventListener('hashchange', render);
	await render();
}
start();

})();
