#!/usr/bin/env python3
"""reasoning.py --package PATH [--bytes N] [--seed S] > chats.jsonl

Reasoning problems of the package reasoning-gym as chats, JSON lines {"id",
"source", "messages": [user, assistant]}. PATH is its wheel or a folder that
holds reasoning_gym/. The answer shows its work between <think> tags where the
package gives it (gsm_symbolic) or where it is a few lines to write down. The
datasets of KINDS take turns, so that any beginning of the output is a fair
mixture. The same package, seed and count give the same bytes.

The package's own __init__ imports every dataset, and with them a numerical
stack that the ones used here have no need of; so each module is loaded by
itself, and nothing has to be installed.
"""
import argparse
import importlib
import importlib.machinery
import json
import os
import signal
import sys
import types

SIZE = 100000   # a dataset's; its items depend on this too

# dataset: module below reasoning_gym
KINDS = {
    "gsm_symbolic": "arithmetic.gsm_symbolic.gsm_symbolic",
    "chain_sum": "arithmetic.chain_sum",
    "syllogism": "logic.syllogisms",
    "prime_factorization": "arithmetic.prime_factorization",
    "leg_counting": "arithmetic.leg_counting",
    "family_relationships": "graphs.family_relationships",
    "string_manipulation": "algorithmic.string_manipulation",
    "aiw": "logic.aiw",
    "gcd": "arithmetic.gcd",
    "base_conversion": "algorithmic.base_conversion",
    "letter_counting": "algorithmic.letter_counting",
    "calendar_arithmetic": "arithmetic.calendar_arithmetic",
    "fraction_simplification": "arithmetic.fraction_simplification",
    "caesar_cipher": "algorithmic.caesar_cipher",
    "number_filtering": "algorithmic.number_filtering",
    "simple_geometry": "geometry.simple_geometry",
    "self_reference": "logic.self_reference",
    "lcm": "arithmetic.lcm",
    "word_sorting": "algorithmic.word_sorting",
    "count_bits": "arithmetic.count_bits",
    "course_schedule": "graphs.course_schedule",
    "number_format": "arithmetic.number_format",
    "spell_backward": "algorithmic.spell_backward",
    "decimal_chain_sum": "arithmetic.decimal_chain_sum",
    "coin_flip": "probability.coin_flip",
    "products": "arithmetic.products",
    "word_sequence_reversal": "algorithmic.word_sequence_reversal",
    "shortest_path": "graphs.shortest_path",
    "tower_of_hanoi": "games.tower_of_hanoi",
}


# ---- the work behind an answer: metadata -> text --------------------------

def work_gsm_symbolic(m, _):
    return m["answer_cot"].rsplit("####", 1)[0].strip()


def work_chain_sum(m, _):
    terms = m["expression"].split()
    lines, total = [], int(terms[0])
    for op, term in zip(terms[1::2], terms[2::2]):
        new = total + int(term) if op == "+" else total - int(term)
        lines.append(f"{total} {op} {term} = {new}")
        total = new
    return "Step by step, from left to right:\n" + "\n".join(lines)


def work_prime_factorization(m, _):
    lines, n = [], m["number"]
    for p in m["factors"]:
        if n != p:
            lines.append(f"{n} = {p} × {n // p}")
            n //= p
    return "\n".join(lines + [f"{n} is prime."])


def work_gcd(m, _):
    lines, a = ["Euclid's algorithm:"], m["numbers"][0]
    for b in m["numbers"][1:]:
        while b:
            lines.append(f"{a} = {a // b} × {b} + {a % b}")
            a, b = b, a % b
        lines.append(f"The remainder is 0, so this leaves {a}.")
    return "\n".join(lines)


def work_lcm(m, _):
    a, b = m["numbers"][:2]
    g = a * b // m["result"]
    return (f"gcd({a}, {b}) = {g}, so lcm = {a} × {b} / {g} = "
            f"{a * b} / {g} = {m['result']}.")


def work_leg_counting(m, answer):
    names = list(m["animals"].items())
    return (", ".join(f"{n} {a}{'s' if n > 1 else ''}" for a, n in names) +
            f": I multiply each count by the legs of the animal and add. "
            f"Together {answer} legs.")


def work_count_bits(m, _):
    return f"{m['number']} in binary is {m['binary']}. I count the ones: {m['solution']}."


def work_base_conversion(m, _):
    lines, n, b = [], m["decimal_value"], m["target_base"]
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    lines.append(f"{m['source_repr']} in base {m['source_base']} is {n} in base 10.")
    while n:
        lines.append(f"{n} = {n // b} × {b} + {n % b}: digit {digits[n % b]}")
        n //= b
    return "\n".join(lines + ["Read from the last digit to the first."])


def work_letter_counting(m, _):
    letter = m["target_letter"]
    hits = [f"{w}: {w.lower().count(letter)}" for w in m["span"] if letter in w.lower()]
    return ", ".join(hits) + "." if hits else f'No word holds "{letter}".'


def work_fraction_simplification(m, _):
    f = m["reduction_factor"]
    return (f"Both are divisible by {f}: {m['numerator']} / {f} = "
            f"{m['simplified_numerator']} and {m['denominator']} / {f} = "
            f"{m['simplified_denominator']}.")


def work_caesar_cipher(m, _):
    pairs = zip(m["cipher_text"].split(), m["clear_text"].split())
    return (f"Each letter was moved by {m['rotation']}; I move it back.\n" +
            "\n".join(f"{a} -> {b}" for a, b in pairs))


def work_simple_geometry(m, _):
    n = m["n_sides"]
    return (f"The angles of a polygon with {n} sides add up to ({n} - 2) × 180 = "
            f"{m['total_interior_sum']} degrees. The known ones add up to "
            f"{m['sum_of_known_angles']:g}. The rest is {m['missing_angle_raw']:g}.")


def work_string_manipulation(m, _):
    return "The string goes through these states:\n" + "\n".join(m["states"])


def work_spell_backward(m, _):
    return " ".join(reversed(m["word"]))


def work_course_schedule(m, _):
    if m["solvable"]:
        order = ", ".join(map(str, m["courses"]))
        return f"Looking for an order in which every prerequisite comes first: {order} works."
    return "Some of the prerequisites form a circle, so no order works."


def work_number_filtering(m, _):
    word = m["operation"].replace("_", " those ")
    return f"I compare each number with {m['filter_value']} and {word}."


def work_word_sorting(m, _):
    return "Comparing the words character by character, " + m["direction"] + "."


# ---- loading --------------------------------------------------------------

def open_package(path):
    """Makes reasoning_gym.* importable without running any __init__ but those
    of the modules asked for."""
    sys.path.insert(0, path)
    sys.dont_write_bytecode = True
    spec = importlib.machinery.PathFinder.find_spec("reasoning_gym", [path])
    if spec is None:
        sys.exit(f"reasoning: {path}: no reasoning_gym inside")
    root = list(spec.submodule_search_locations)[0]
    for name in ["reasoning_gym"] + sorted(
            {"reasoning_gym." + m.split(".")[0] for m in KINDS.values()}):
        package = types.ModuleType(name)
        package.__path__ = ["/".join([root] + name.split(".")[1:])]
        sys.modules[name] = package
    # imported by its curricula, which nothing here calls
    sys.modules.setdefault("yaml", types.ModuleType("yaml"))


def datasets(seed, size):
    out = {}
    importlib.import_module("reasoning_gym.coaching")   # before its user, factory
    for name, module in KINDS.items():
        importlib.import_module("reasoning_gym." + module)
        make = importlib.import_module("reasoning_gym.factory").create_dataset
        out[name] = make(name, seed=seed, size=size)
    return out


def chat(kind, i, item, version):
    answer = str(item["answer"])
    work = globals().get("work_" + kind)
    think = work(item["metadata"], answer) if work else None
    said = answer if "\n" in answer else f"The answer is {answer.rstrip('.')}."
    return {"id": f"{kind}/{i}", "source": f"reasoning-gym={version}", "messages": [
        {"role": "user", "content": item["question"].strip()},
        {"role": "assistant", "content":
            f"<think>\n{think}\n</think>\n\n{said}" if think else said}]}


def write(sets, limit, version):
    total = i = 0
    while total < limit:
        for kind, data in sets.items():
            c = chat(kind, i, data[i], version)
            print(json.dumps(c, ensure_ascii=False))
            total += sum(len(m["content"].encode()) for m in c["messages"])
            if total >= limit:
                break
        i += 1


def main():
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    ap = argparse.ArgumentParser(description="reasoning problems as chats")
    ap.add_argument("--package", required=True, metavar="PATH",
                    help="a wheel or folder with reasoning_gym/ inside")
    ap.add_argument("--version", default="0.1.25", help="goes into the source")
    ap.add_argument("--bytes", type=int, default=1000000, help="stop after so many")
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    open_package(a.package)
    sets = datasets(a.seed, SIZE)
    try:
        write(sets, a.bytes, a.version)
        sys.stdout.flush()
    except OSError as e:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(f"reasoning: {e}")


if __name__ == "__main__":
    main()
