"""The same daily metrics outside the database: read over ADBC, computed in memory.

Each peer takes day and task, and the same cut by segment: confusion matrix, Brier score, log loss
and the area under the ROC curve. It prints its times as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa

QUERY = (
    "select task, prediction_date, attributes ->> 'segment' as segment, score, threshold, label "
    "from leadlight_intermediate.int_labelled_predictions where label_status = 'mature'"
)
SLICES = (["task", "prediction_date"], ["task", "prediction_date", "segment"])


def read(uri: str) -> pa.Table:
    """Return the mature predictions as Arrow."""
    with adbc.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(QUERY)
        return cursor.fetch_arrow_table()


def with_pandas(table: pa.Table) -> int:
    """Compute with pandas and scikit-learn; return the number of days and segments."""
    import pandas as pd
    from sklearn.metrics import brier_score_loss, confusion_matrix, log_loss, roc_auc_score

    rows: pd.DataFrame = table.to_pandas(strings_to_categorical=True, self_destruct=True)
    rows["predicted"] = (rows["score"] >= rows["threshold"]).astype(int)

    def metrics(group: pd.DataFrame) -> dict[str, Any]:
        label, score = group["label"].to_numpy(), group["score"].to_numpy()
        both = [0, 1]
        return {
            "counts": confusion_matrix(label, group["predicted"].to_numpy(), labels=both).ravel(),
            "brier": brier_score_loss(label, score, pos_label=1),
            "log_loss": log_loss(label, score, labels=both),
            "roc_auc": roc_auc_score(label, score) if 0 < label.sum() < len(label) else None,
        }

    found = [metrics(group) for keys in SLICES for _, group in rows.groupby(keys, observed=True)]
    return len(found)


def with_polars(table: pa.Table) -> int:
    """Compute with Polars; return the number of days and segments."""
    import polars as pl

    rows = pl.from_arrow(table).lazy()
    y, p = pl.col("label"), pl.col("score")
    said = p >= pl.col("threshold")
    n, n_positives = pl.len(), y.sum()
    found = [
        rows.group_by(keys)
        .agg(
            (said & (y == 1)).sum().alias("tp"),
            (said & (y == 0)).sum().alias("fp"),
            (~said & (y == 0)).sum().alias("tn"),
            (~said & (y == 1)).sum().alias("fn"),
            ((p - y) ** 2).mean().alias("brier"),
            (-pl.when(y == 1).then(p).otherwise(1 - p).log()).mean().alias("log_loss"),
            (
                (p.rank().filter(y == 1).sum() - n_positives * (n_positives + 1) / 2)
                / (n_positives * (n - n_positives))
            ).alias("roc_auc"),
        )
        .collect()
        for keys in SLICES
    ]
    return sum(map(len, found))


def main(uri: str, name: str) -> None:
    """Read, compute, and print both times."""
    start = time.perf_counter()
    table = read(uri)
    middle = time.perf_counter()
    n_groups = {"pandas": with_pandas, "polars": with_polars}[name](table)
    end = time.perf_counter()
    times = {"read": middle - start, "compute": end - middle, "total": end - start}
    print(json.dumps(times | {"groups": n_groups}))


if __name__ == "__main__":
    main(*sys.argv[1:])
