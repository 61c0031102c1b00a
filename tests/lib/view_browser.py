"""view_browser.py FOLDER [SHOTS]: pages of attrgraph view in a headless
Chromium (tests/lib/browser.py), by mouse and keys. FOLDER holds haiku.html,
model.html, evil.html and big.html, as tests/check/view_browser.sh makes them.
TAP on stdout. With SHOTS pictures go there, for people to look at.
"""
import json
import os
import sys
import time

from browser import Browser, program

folder, shots = os.path.abspath(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None
bad = 0

# How long a frame takes while the slider of links is dragged over its range:
# what the script works in it, and the time from frame to frame.
DRAG = """new Promise(async done => {
  const s = $('links'), work = [], frames = [], drawn = new Set();
  let last = await new Promise(requestAnimationFrame);
  for (let v = 1000; v >= 300; v -= 10) {
    s.value = v;
    const t = performance.now();
    s.dispatchEvent(new Event('input'));
    work.push(performance.now() - t);
    const now = await new Promise(requestAnimationFrame);
    frames.push(now - last);
    last = now;
    drawn.add(state.links);
  }
  const at = (a, q) => a.sort((x, y) => x - y)[Math.floor(q * (a.length - 1))];
  done({ work: [at(work, .5), at(work, .95)], frames: [at(frames, .5), at(frames, .95)], steps: drawn.size });
})"""

# The controls that are elsewhere for some value of a slider; links are drawn
# over several frames, and what is said of them grows with each.
STILL = """new Promise(async done => {
  const all = Array.from(document.querySelectorAll('#controls > *')), places = () => all.map(x => { const r = x.getBoundingClientRect(); return [r.left, r.top]; });
  const had = places(), moved = new Set();
  for (const id of ['links', 'influence']) {
    const was = $(id).value;
    for (const v of [0, 10, 130, 400, 777, 990, 1000, was]) {
      $(id).value = v;
      $(id).dispatchEvent(new Event('input'));
      do {
        places().forEach((p, i) => { if (p.some((x, k) => Math.abs(x - had[i][k]) > .01)) moved.add(all[i].textContent); });
        await new Promise(requestAnimationFrame);
      } while (view.at < state.links);
    }
  }
  done(Array.from(moved));
})"""


def check(what, good, why=""):
    global bad
    print(f"{'ok' if good else 'not ok'} view_browser: {what}", flush=True)
    if not good:
        bad = 1
        print(f"# {why}")


def shot(b, name):
    if shots:
        b.until("view.at >= state.links", 20)
        time.sleep(0.3)
        b.shot(os.path.join(shots, name + ".png"))


def load(b, name, fragment=""):
    b.open("about:blank")
    b.errors.clear()
    b.requests.clear()
    b.open(f"file://{folder}/{name}.html{fragment}")
    if not b.until("typeof G === 'object' && view.at >= state.links", 60):
        raise RuntimeError(f"{name} is not drawn: {b.errors}")


def place(b, node):
    """Where a node is in the window."""
    return b.js(f"(() => {{ const r = $('c-nodes').getBoundingClientRect(), d = {node}; return [r.left + px(d), r.top + py(d)]; }})()")


def middle(b, selector):
    return b.js(f"(() => {{ const r = document.querySelector({json.dumps(selector)}).getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2]; }})()")


def colors(b, canvas):
    """How many pixels of a canvas are painted. Read from a copy: reading itself
    would change how the canvas is kept, which the console remarks on."""
    return b.js(f"""(() => {{ const c = $('{canvas}'), o = document.createElement('canvas');
        [o.width, o.height] = [c.width, c.height];
        const x = o.getContext('2d', {{ willReadFrequently: true }});
        x.drawImage(c, 0, 0);
        const d = x.getImageData(0, 0, c.width, c.height).data;
        let n = 0;
        for (let i = 3; i < d.length; i += 4) n += d[i] > 0;
        return n; }})()""")


def model(b):
    load(b, "model")
    n = b.js("G.nodes.length")
    check("nodes and links are drawn", n > 20 and b.js("view.drawn") > 0 and colors(b, "c-nodes") > 500 and colors(b, "c-strong") > 500, n)
    check("the overview is shown", b.js("$('panel').textContent.includes('It says')"))
    shot(b, "overview")

    # a node that has room around it
    node = "G.nodes.find(d => d.kind === 'feature' && d.ins.length && d.outs.length && d.about && nodeAt(px(d), py(d)) === d)"
    id_ = b.js(node + ".id")
    b.click(*place(b, node))
    check("a click selects", b.js("state.node && state.node.id") == id_, b.js("state.node && state.node.id"))
    check("the panel tells of it", b.js(f"$('panel').textContent.includes({json.dumps(id_)}) && document.querySelectorAll('#ins .row').length > 0"))
    check("contexts are shown, the peak marked", b.js("document.querySelectorAll('#latent .context .peak').length > 0"))
    weights = b.js("Array.from(document.querySelectorAll('#ins .row'), r => Math.abs(G.W[state.node.ins[Array.from(r.parentNode.children).indexOf(r)]]))")
    check("inputs come strongest first", weights == sorted(weights, reverse=True), weights)
    shot(b, "node")
    source = b.js("document.querySelector('#ins .row').dataset.id")
    b.click(*middle(b, "#ins .row"))
    check("a click on an input goes there", b.until(f"state.node.id === {json.dumps(source)}"), source)
    b.key("b")
    check("b goes back", b.js("state.node.id") == id_)
    b.key("]")
    check("] follows the strongest output", b.js(f"state.node === G.nodes[G.T[G.byId.get({json.dumps(id_)}).outs[0]]]"))
    b.key("b")
    b.key("ArrowDown")
    check("an arrow goes a layer down", b.js(f"state.node.row < G.byId.get({json.dumps(id_)}).row"))

    drawn, painted = b.js("view.drawn"), colors(b, "c-strong")
    x, y = middle(b, "#links")
    b.js("$('links').value = 0; $('links').dispatchEvent(new Event('input'))")
    check("the links slider takes links away", b.js("view.drawn") == 0 < drawn and colors(b, "c-strong") == 0 < painted)
    b.click(x + 55, y)  # near the slider's end
    check("and gives them back", b.until(f"view.at >= state.links && view.drawn > {drawn}"), b.js("view.drawn"))
    moved = b.js(STILL, 60)
    check("no control moves while a slider is dragged", not moved, moved)
    shown = "G.nodes.filter(shown).length"
    before = b.js(shown)
    b.js("$('influence').value = 400; $('influence').dispatchEvent(new Event('input'))")
    check("the influence slider takes nodes away", 0 < b.js(shown) < before)
    b.js("$('influence').value = 1000; $('influence').dispatchEvent(new Event('input'))")
    b.click(*middle(b, "#errors"))
    check("errors can be hidden", b.until("!state.errors && !G.nodes.some(d => d.kind === 'error' && shown(d))"))
    b.click(*middle(b, "#errors"))

    b.click(*middle(b, "#search"))
    b.type(id_)
    check("search finds an id", b.until("document.querySelectorAll('#hits .row').length > 0") and b.js("document.querySelector('#hits .row').dataset.id") == id_)
    b.key("Enter")
    check("Enter selects what is found", b.js("state.node.id") == id_ and b.js("$('hits').hidden"))
    b.key("Enter")
    check("Enter pins", b.js("state.node.pin && state.pinned.length === 1 && !$('sub').hidden"))
    b.key("Escape")
    check("Escape leaves", b.js("!state.node && $('panel').textContent.includes('It says')"))

    b.click(*middle(b, "#pin-strongest"))
    check("the strongest are pinned", b.js("state.pinned.length") > 4 and b.js("document.querySelectorAll('#svg .box').length === boxes().length"))
    pinned = b.js("state.pinned.length")
    for i in (0, 1):
        at = b.js(f"(() => {{ const r = document.querySelectorAll('#svg .box .frame')[{i}].getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2]; }})()")
        b.click(*at, shift=True)
    check("shift-click marks boxes", b.js("marked.size") == 2)
    b.click(*middle(b, "#group"))
    check("they become a supernode", b.js("state.supers.length === 1 && state.supers[0].nodes.length === 2 && boxes().length") == pinned - 1)
    b.js("$('rename').value = 'two of them'; $('rename').dispatchEvent(new Event('change'))")
    check("which can be named", b.js("state.supers[0].name === 'two of them' && $('svg').textContent.includes('two of them')"))
    sums = b.js("""(() => { const all = boxes(), has = (x, d) => (x.nodes || [x]).includes(d);
        return sumLinks(all).every(x => { let w = 0; for (let k = 0; k < G.n; k++) if (has(x.from, G.nodes[G.S[k]]) && has(x.to, G.nodes[G.T[k]])) w += G.W[k];
        return Math.abs(w - x.w) < 1e-4 * (1 + Math.abs(w)); }); })()""")
    check("its links are sums", sums)
    shot(b, "supernode")

    b.js("$('export').click()")
    q = json.loads(b.js("$('qparams').value"))
    check("export is qParams", len(q["pinnedIds"]) == pinned and q["supernodes"][0][0] == "two of them" and len(q["supernodes"][0]) == 3 and
          set(q["supernodes"][0][1:]) <= set(q["pinnedIds"]) and isinstance(q["clerps"], list), q)
    b.js("$('box').close()")
    b.js("select(G.byId.get(%s)); $('rename').value = 'my name'; $('rename').dispatchEvent(new Event('change'))" % json.dumps(id_))
    b.js("$('theme').click()")
    check("dark is dark", b.js("document.documentElement.classList.contains('dark') && view.colors.surface !== '#fff'"))
    shot(b, "dark")
    b.js("saveNow()")
    fragment, had = b.js("location.hash"), b.js("JSON.stringify([qParams(), state.links, state.dark])")
    errors, requests = list(b.errors), list(b.requests)
    check("no error in the console", not errors, errors)
    check("no request but the page's own", all(r.startswith(f"file://{folder}/") or r.startswith("data:") for r in requests) and len(requests) >= 1, requests)
    load(b, "model", fragment)
    check("the address brings the view back", b.js("JSON.stringify([qParams(), state.links, state.dark])") == had, had)
    check("with the names given", b.js("title(state.node)") == "my name")
    b.key("u")
    b.key("?")
    check("? tells the keys", b.js("$('box').open && $('box').textContent.includes('strongest input')"))
    shot(b, "help")
    b.key("Escape")


def haiku(b):
    load(b, "haiku")
    check("a published graph begins with its own qParams", b.js("state.pinned.length === 49 && state.supers.length === 6 && !!state.node"), b.js("[state.pinned.length, state.supers.length]"))
    check("influence is worked out where it lacks", b.js("G.computed && Math.abs(d3.sum(G.strongest, d => d.share) - 1) < 1e-6"))
    shot(b, "haiku")
    b.js("$('graphs').value = 1; $('graphs').dispatchEvent(new Event('change'))")
    check("the menu opens the other graph", b.js("G.name === 'opposite_of_small' && state.supers.length === 8"))
    check("no error in the console", not b.errors, b.errors)


def evil(b):
    load(b, "evil")
    check("hostile text is only text", b.js("!document.querySelector('img') && $('panel').textContent.includes('<img src=x onerror=alert(1)>')") and not b.errors, b.errors)


def narrow(b):
    b.resize(420, 860)
    load(b, "haiku")
    check("a narrow window has no sideways scroll", b.js("document.documentElement.scrollWidth <= innerWidth"), b.js("document.documentElement.scrollWidth"))
    shot(b, "narrow")
    b.resize(1400, 900)


def big(b):
    load(b, "big")
    n = b.js("[G.nodes.length, G.n]")
    took = b.js(DRAG, 300)
    print(f"# {n[0]} nodes, {n[1]} links, slider dragged: script {took['work'][0]:.1f} ms a frame (95 %: {took['work'][1]:.1f}), "
          f"frame to frame {took['frames'][0]:.1f} (95 %: {took['frames'][1]:.1f})")
    check("a big graph follows the slider", took["steps"] > 50)
    b.js("$('links').value = 1000; $('links').dispatchEvent(new Event('input'))")
    check("and is drawn to the last link", b.until("view.drawn === G.n", 60), b.js("view.drawn"))
    moved = b.js(STILL, 60)
    check("and no control moves", not moved, moved)
    b.click(*place(b, "G.strongest.find(d => d.kind === 'feature' && nodeAt(px(d), py(d)) === d)"))
    check("a node of it can be taken", b.js("!!state.node"))
    shot(b, "big")
    check("no error in the console", not b.errors, b.errors)


if not program():
    print("ok view_browser # SKIP no chromium")
    sys.exit(0)
with Browser(1400, 900) as b:
    for part in (model, haiku, evil, narrow, big):
        part(b)
sys.exit(bad)
