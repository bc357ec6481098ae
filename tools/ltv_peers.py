"""Fits and predicts with the PyPI package lifetimes when asked to, and says how long it took.

The benchmark `peers` of kiki-models starts it in a virtual environment of its own and writes a line for each turn:

    load FILE     rows of `frequency,recency,age`         answers `ok N`
    fit           BG/NBD                                  answers `SECONDS r alpha a b`
    predict       purchases in the next 52 weeks          answers `SECONDS SUM`

Reading the rows is not timed, and nothing else runs meanwhile. `predict` uses the parameters of the fit before.
"""

import sys
import time

import pandas
from lifetimes import BetaGeoFitter

customers = model = None
for line in sys.stdin:
    verb, *rest = line.split()
    if verb == "load":
        customers = pandas.read_csv(rest[0], names=["frequency", "recency", "age"])
        print("ok", len(customers), flush=True)
        continue
    columns = customers["frequency"], customers["recency"], customers["age"]
    begun = time.perf_counter()
    if verb == "fit":
        model = BetaGeoFitter().fit(*columns)
        took, figures = time.perf_counter() - begun, [model.params_[name] for name in ("r", "alpha", "a", "b")]
    else:
        expected = model.conditional_expected_number_of_purchases_up_to_time(52, *columns)
        took, figures = time.perf_counter() - begun, [expected.sum()]
    print(took, *figures, flush=True)
