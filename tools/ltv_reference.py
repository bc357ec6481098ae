"""What the functions and predictions of the lifetime value models are, to 17 digits, over grids that reach into their tails.

    python3 -m venv /tmp/kiki-tools && /tmp/kiki-tools/bin/pip install mpmath==1.3.0
    /tmp/kiki-tools/bin/python tools/ltv_reference.py

writes `crates/kiki-models/tests/data/reference.json`, which the tests of kiki-models read. Nothing here is shared with the Rust
code: expectations and probabilities are the closed forms of the papers, with hypergeometric functions and differences that
cancel, in as many digits as that costs.
"""

import itertools
import json
import pathlib

from mpmath import binomial, exp, gamma, hyp2f1, log, loggamma, mp, mpf, nstr, psi, quad, rf

mp.dps = 120
OUTPUT = pathlib.Path(__file__).resolve().parent.parent / "crates/kiki-models/tests/data/reference.json"


def numbers(*values):
    """Doubles as JSON has them; what a double cannot hold is 0."""
    return [float(nstr(value, 17)) for value in values]


def exact(*values):
    """The double itself, not the decimal that is written for it."""
    return [mpf(float(value)) for value in values]


def gammas():
    for z in ["1e-6", "1e-3", "0.1", "0.243", "0.5", "0.999", "1.001", "1.4616321449683623", "2.001", "3.7", "9.999", "10.001", "42.5", "1e3", "123456.789", "1e6", "2e6"]:
        (z,) = exact(z)
        yield numbers(z, loggamma(z), psi(0, z), psi(1, z))


def rising():
    for z, n in itertools.product(["1e-6", "0.243", "2.5", "1e3", "1e6"], [1, 2, 7, 40, 64, 65, 500, 10_000, 1_000_000]):
        (z,) = exact(z)
        differences = [loggamma(z + n) - loggamma(z), psi(0, z + n) - psi(0, z), psi(1, z + n) - psi(1, z)]
        yield numbers(z, n, *differences)


HISTORIES = [(0, 0, 0.5), (0, 0, 39), (0, 0, 5000), (1, 0.01, 39), (2, 30.43, 38.86), (7, 5, 39), (29, 38.4, 38.9), (29, 38.9, 38.9), (120, 50, 50.000001), (800, 150, 157), (40, 3, 400)]
HORIZONS = [1e-6, 1, 52, 5200]


def beta_geometric():
    """first, r, alpha, a, b, x, recency, age, weeks; alive, purchases if alive, stays, pmf at min(x, 40) by weeks."""
    parameters = [(0.243, 4.414, 0.793, 2.426), (0.01, 0.2, 0.05, 0.1), (3, 40, 2.5, 30), (30, 25, 0.3, 900), (0.5, 1000, 1.01, 0.9), (0.13, 0.5, 1.9e-6, 1.8e-6)]
    for first, (r, alpha, a, b), (x, recency, age), weeks in itertools.product([0, 1], parameters, HISTORIES, HORIZONS):
        r, alpha, a, b, recency, age, weeks = exact(r, alpha, a, b, recency, age, weeks)
        rate, k = r + x, x + first
        gone = a / (b + k - 1) * ((alpha + age) / (alpha + recency)) ** rate if k > 0 else mpf(0)
        share = weeks / (alpha + age + weeks)
        ratio = hyp2f1(rate, b + k, a + b + k - 1, share) * (1 - share) ** rate
        purchases = (a + b + k - 1) / (a - 1) * (1 - ratio)
        stays = hyp2f1(rate, a, a + b + k, -weeks / (alpha + age))
        n = min(x, 40)
        z, m = weeks / (alpha + weeks), n + first
        pascal = lambda j: gamma(r + j) / (gamma(r) * gamma(j + 1)) * (1 - z) ** r * z**j
        pmf = rf(b, m) / rf(a + b, m) * pascal(n)
        if m > 0:
            pmf += rf(b, m - 1) / rf(a + b, m - 1) * a / (a + b + m - 1) * (1 - sum(pascal(j) for j in range(n)))
        yield [first] + numbers(r, alpha, a, b, x, recency, age, weeks, 1 / (1 + gone), purchases, stays, pmf)


def pareto():
    """r, alpha, s, beta, x, recency, age, weeks; log-likelihood, alive, purchases if alive, stays."""
    parameters = [(0.553, 10.578, 0.606, 11.669), (0.553, 10.578, 0.606, 1000), (0.02, 300, 0.01, 0.3), (8, 5, 4, 70), (1.5, 12, 30, 900), (0.4, 0.001, 0.7, 20)]
    for (r, alpha, s, beta), (x, recency, age), weeks in itertools.product(parameters, HISTORIES, [1, 5200]):
        r, alpha, s, beta, recency, age, weeks = exact(r, alpha, s, beta, recency, age, weeks)
        power, larger, gap = r + s + x, max(alpha, beta), abs(alpha - beta)
        second = s + 1 if alpha >= beta else r + x
        part = lambda time: hyp2f1(power, second, power + 1, gap / (larger + time)) / (larger + time) ** power
        there = (alpha + age) ** -(r + x) * (beta + age) ** -s
        left = s / power * (part(recency) - part(age))
        value = loggamma(r + x) - loggamma(r) + r * log(alpha) + s * log(beta) + log(there + left)
        stays = ((beta + age) / (beta + age + weeks)) ** s
        purchases = (r + x) * (beta + age) / ((alpha + age) * (s - 1)) * (1 - ((beta + age) / (beta + age + weeks)) ** (s - 1))
        yield numbers(r, alpha, s, beta, x, recency, age, weeks, value, there / (there + left), purchases, stays)


def pareto_counts():
    """r, alpha, s, beta, x, weeks; the probability of x purchases by then."""
    mp.dps = 30
    for (r, alpha, s, beta), x, weeks in itertools.product([(0.553, 10.578, 0.606, 11.669), (8, 5, 4, 70), (0.4, 0.1, 0.7, 20)], [0, 1, 5, 60], [1, 78]):
        r, alpha, s, beta, weeks = exact(r, alpha, s, beta, weeks)
        pascal = lambda u: gamma(r + x) / (gamma(r) * gamma(x + 1)) * (alpha / (alpha + u)) ** r * (u / (alpha + u)) ** x
        left = lambda u: s / (beta + u) * (beta / (beta + u)) ** s * pascal(u)
        cuts = [weeks * mpf(2) ** -k for k in range(20, -1, -1)]
        probability = quad(left, [0] + cuts) + (beta / (beta + weeks)) ** s * pascal(weeks)
        yield numbers(r, alpha, s, beta, x, weeks, probability)
    mp.dps = 120


def bgbb():
    """alpha, beta, gamma, delta, x, last, n, ahead; alive, purchases, purchases of a new one by n, pmf of x by n."""
    parameters = [(1.204, 0.750, 0.657, 2.783), (0.05, 3, 0.2, 0.4), (30, 12, 4, 90)]
    for (al, be, ga, de), (x, last, n), ahead in itertools.product(parameters, [(0, 0, 1), (0, 0, 6), (1, 1, 6), (4, 6, 6), (6, 6, 6), (3, 40, 300)], [1, 100]):
        al, be, ga, de = exact(al, be, ga, de)
        ln_beta = lambda p, q: loggamma(p) + loggamma(q) - loggamma(p + q)
        of = lambda u, d: exp(ln_beta(al + x, be + u - x) - ln_beta(al, be) + ln_beta(ga + d, de + u) - ln_beta(ga, de))
        alive = of(n, 0) / (of(n, 0) + sum(of(u, 1) for u in range(last, n)))
        tail = lambda m: gamma(1 + de + m) / gamma(ga + de + m)
        stays = lambda start, end: de / (ga - 1) * gamma(ga + de) / gamma(1 + de) * (tail(start) - tail(end))
        there = exp(ln_beta(ga, de + n) - ln_beta(ga, de))
        purchases = alive * (al + x) / (al + be + n) * stays(n, n + ahead) / there
        pmf = binomial(n, x) * of(n, 0) + sum(binomial(u, x) * of(u, 1) for u in range(x, n))
        yield numbers(al, be, ga, de, x, last, n, ahead, alive, purchases, al / (al + be) * stays(0, n), pmf)


if __name__ == "__main__":
    grids = {grid.__name__: list(grid()) for grid in (gammas, rising, beta_geometric, pareto, pareto_counts, bgbb)}
    lines = [f' "{name}": [\n' + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n ]" for name, rows in grids.items()]
    OUTPUT.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print({name: len(rows) for name, rows in grids.items()})
