"""The players: they register, pay in, bet and win, and many never come back after the first day.

A player is scored 24 hours after registration. Who spends more on the first day, is older, came by
a friend or lives where people are better off comes back more often.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from python_scoring.simulation.draws import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    draw_by_share,
    draw_moments,
    entity_ids,
    events_frame,
    running_sum,
    sigmoid,
    timestamps,
    whole,
)

SCORED_AFTER = DAY
HORIZON = 7 * DAY
YEAR = 365.25 * DAY
SHARE_MISLABELLED = 0.03
SHARE_OF_UNKNOWN_POSTCODES = 0.04

CAMPAIGNS = pd.DataFrame(
    [
        ("welcome_bonus", 0.34, 0.55),
        ("free_spins", 0.24, 0.35),
        ("cup_final", 0.24, -0.25),
        ("friends", 0.18, -0.75),
    ],
    columns=["campaign", "share", "churn_effect"],
)
# Who came by a friend came by no affiliate.
AFFILIATE_URLS = {
    "welcome_bonus": "https://bonus-finder.example/go",
    "free_spins": "https://spins.example/partner",
    "cup_final": "https://match-day.example/odds",
    "friends": None,
}
FIRST_NAMES = ("Alex", "Bente", "Chris", "Dana", "Emil", "Finn", "Greta", "Hanna", "Ivo", "Jule")
LAST_NAMES = ("Amsel", "Berg", "Clement", "Dijk", "Egger", "Falk", "Gruber", "Huber", "Iten")
STREETS = ("Lindenweg", "Bergstrasse", "Rue du Lac", "Molenstraat", "Gartenweg", "Hauptstrasse")
CITIES = ("Altenau", "Brunnwil", "Clairmont", "Dijkhuizen", "Ebersfeld", "Felsbach", "Grandval")


def simulate_players(
    rng: np.random.Generator,
    n_players: int,
    n_days: int,
    seed: int,
    until: int,
    postcodes: pd.DataFrame,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Simulate players who register in the `n_days` before `until`; return events and truth.

    `postcodes` has country, postcode and socioeconomic_index, as the seed does. The truth has one
    row per player: `did_churn` says that no event at all follows in the seven days after the
    scoring moment `as_of_at` and was drawn from `probability`; `label` is what the operator's own
    system found later, a few times wrongly. The registration carries it all the same, so that a
    feature that reads it knows the future.
    """
    players = _draw_players(rng, n_players, n_days, seed, until, postcodes)
    first_day = _draw_first_day(rng, players)
    first_purchases, first_bets = _draw_play(rng, players, first_day)
    players = _draw_churn(rng, players, first_purchases, first_bets)
    purchases, bets = _draw_play(rng, players, _draw_later_visits(rng, players))
    events = pd.concat(
        [
            _registration_events(rng, players),
            _money_events(players, "new_purchase", pd.concat([first_purchases, purchases])),
            *_bet_and_win_events(players, pd.concat([first_bets, bets])),
        ]
    )
    truth = pd.DataFrame(
        {
            "user_id": players["user_id"],
            "registered_at": timestamps(players["registered_at"]),
            "as_of_at": timestamps(players["as_of_at"]),
            "socioeconomic_index": players["socioeconomic_index"],
            "probability": players["probability"],
            "did_churn": players["did_churn"],
            "label": players["label"],
        }
    )
    return events, truth


def _draw_players(
    rng: np.random.Generator,
    n_players: int,
    n_days: int,
    seed: int,
    until: int,
    postcodes: pd.DataFrame,
) -> pd.DataFrame:
    """Return one row per player, in order of registration: who it is and how keen to spend."""
    registered_at = draw_moments(rng, n_players, n_days, until)
    home = rng.integers(0, len(postcodes), n_players)
    postcode = postcodes["postcode"].take(home).reset_index(drop=True)
    # Some leave out the last character; nobody knows such a postcode.
    is_unknown = rng.random(n_players) < SHARE_OF_UNKNOWN_POSTCODES
    age = 18.0 + np.minimum(rng.gamma(2.0, 8.0, n_players), 65.0)
    campaign = draw_by_share(rng, CAMPAIGNS, n_players)
    return pd.DataFrame(
        {
            "user_id": entity_ids("player", seed, n_players),
            "registered_at": registered_at,
            "as_of_at": registered_at + SCORED_AFTER,
            "country": postcodes["country"].take(home).array,
            "city": np.array(CITIES)[home % len(CITIES)],
            "postcode": postcode.where(~is_unknown, postcode.str[:-1]),
            "socioeconomic_index": postcodes["socioeconomic_index"].to_numpy()[home],
            "age": age,
            "born_at": registered_at - whole(age * YEAR),
            "campaign": campaign["campaign"],
            "churn_effect": campaign["churn_effect"],
            "keenness": rng.normal(0.0, 1.0, n_players),
        }
    )


def _draw_first_day(rng: np.random.Generator, players: pd.DataFrame) -> pd.DataFrame:
    """Return the visits of the first day: player, start, and that each begins with a purchase."""
    n_visits = rng.poisson(np.exp(-0.2 + 0.6 * players["keenness"].to_numpy()))
    player = np.repeat(np.arange(len(players)), n_visits)
    # Early enough that the last bet is settled when the player is scored.
    wait = 2 * MINUTE + whole(rng.beta(0.8, 3.0, len(player)) * 20 * HOUR)
    return pd.DataFrame(
        {
            "player": player,
            "started_at": players["registered_at"].to_numpy()[player] + wait,
            "has_purchase": True,
        }
    )


def _draw_play(
    rng: np.random.Generator, players: pd.DataFrame, visits: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the purchases (player, time, amount) and the bets (also `won`, `won_at`) of visits.

    A purchase begins its visit, bets follow within the hour, and whatever a bet wins (else 0) comes
    minutes later.
    """
    keenness = players["keenness"].to_numpy()
    index = players["socioeconomic_index"].to_numpy()
    buyer = visits["player"].to_numpy()[visits["has_purchase"]]
    amount = np.exp(
        3.0 + 0.4 * keenness[buyer] + 0.008 * (index[buyer] - 50) + rng.normal(0.0, 0.6, len(buyer))
    )
    purchases = pd.DataFrame(
        {
            "player": buyer,
            "occurred_at": visits["started_at"].to_numpy()[visits["has_purchase"]],
            # People pay in round sums.
            "amount": 5.0 * np.ceil(np.minimum(amount, 500.0) / 5.0),
        }
    )

    n_bets = rng.integers(1, 7, len(visits))
    bettor = np.repeat(visits["player"].to_numpy(), n_bets)
    elapsed = running_sum(rng.integers(20 * SECOND, 6 * MINUTE, len(bettor)), n_bets)
    occurred_at = np.repeat(visits["started_at"].to_numpy(), n_bets) + elapsed
    stake = np.exp(1.2 + 0.4 * keenness[bettor] + rng.normal(0.0, 0.5, len(bettor)))
    stake = np.maximum(stake.round(2), 0.5)
    # The house keeps some 6 %.
    odds = np.where(rng.random(len(bettor)) < 0.4, 1.1 + rng.exponential(1.25, len(bettor)), 0.0)
    bets = pd.DataFrame(
        {
            "player": bettor,
            "occurred_at": occurred_at,
            "amount": stake,
            "won": np.round(stake * odds, 2),
            "won_at": occurred_at + rng.integers(5 * SECOND, 10 * MINUTE, len(bettor)),
        }
    )
    return purchases, bets


def _draw_churn(
    rng: np.random.Generator, players: pd.DataFrame, purchases: pd.DataFrame, bets: pd.DataFrame
) -> pd.DataFrame:
    """Add `probability` and `did_churn`, moved by the money of the first day, and `label`."""
    n_players = len(players)
    paid = np.bincount(purchases["player"], purchases["amount"], n_players)
    lost = np.bincount(bets["player"], bets["amount"] - bets["won"], n_players)
    probability = sigmoid(
        -0.05
        - 0.45 * np.log1p(paid)
        + 0.5 * np.tanh(lost / 20.0)
        - 0.5 * (players["age"].to_numpy() - 34.0) / 11.0
        - 0.6 * (players["socioeconomic_index"].to_numpy() - 50.0) / 20.0
        + players["churn_effect"].to_numpy()
    )
    did_churn = rng.random(n_players) < probability
    is_mislabelled = rng.random(n_players) < SHARE_MISLABELLED
    return players.assign(
        has_paid=paid > 0,
        probability=probability,
        did_churn=did_churn,
        label=(did_churn ^ is_mislabelled).astype(int),
    )


def _draw_later_visits(rng: np.random.Generator, players: pd.DataFrame) -> pd.DataFrame:
    """Return the visits after the first day: player, start, and whether a purchase begins it.

    Who churned comes back after the horizon or never; everybody else comes within it, and again.
    """
    did_churn = players["did_churn"].to_numpy()
    as_of_at = players["as_of_at"].to_numpy()
    comes = ~did_churn | (rng.random(len(players)) < 0.06)
    back = np.flatnonzero(comes)
    wait = np.where(
        did_churn,
        HORIZON + HOUR + whole(rng.exponential(15 * DAY, len(players))),
        MINUTE + whole(rng.beta(1.0, 2.0, len(players)) * (HORIZON - HOUR)),
    )
    back_at = as_of_at + wait
    again = np.repeat(back, rng.poisson(np.exp(0.8 + 0.4 * players["keenness"].to_numpy()[back])))
    again_at = back_at[again] + HOUR + whole(rng.exponential(12 * DAY, len(again)))
    return pd.DataFrame(
        {
            "player": np.concatenate([back, again]),
            "started_at": np.concatenate([back_at[back], again_at]),
            # Nobody bets who never paid in.
            "has_purchase": np.concatenate(
                [
                    ~players["has_paid"].to_numpy()[back] | (rng.random(len(back)) < 0.4),
                    rng.random(len(again)) < 0.4,
                ]
            ),
        }
    )


def _registration_events(rng: np.random.Generator, players: pd.DataFrame) -> pd.DataFrame:
    n_players = len(players)
    properties = [
        json.dumps(
            {
                "name": f"{first_name} {last_name}",
                "date_of_birth": date_of_birth,
                "street_address": f"{street} {number}",
                "city": city,
                "country": country,
                "postcode": postcode,
                "affiliate_url": AFFILIATE_URLS[campaign],
                "campaign": campaign,
                "label": label,
            }
        )
        for (
            first_name,
            last_name,
            date_of_birth,
            street,
            number,
            city,
            country,
            postcode,
            campaign,
            label,
        ) in zip(
            rng.choice(FIRST_NAMES, n_players),
            rng.choice(LAST_NAMES, n_players),
            timestamps(players["born_at"]).strftime("%Y-%m-%d"),
            rng.choice(STREETS, n_players),
            rng.integers(1, 120, n_players),
            *(
                players[column].tolist()
                for column in ("city", "country", "postcode", "campaign", "label")
            ),
            strict=True,
        )
    ]
    return events_frame(
        players["user_id"], "new_registration", players["registered_at"].to_numpy(), properties
    )


def _bet_and_win_events(players: pd.DataFrame, bets: pd.DataFrame) -> list[pd.DataFrame]:
    wins = bets[bets["won"] > 0]
    wins = wins.assign(amount=wins["won"], occurred_at=wins["won_at"])
    return [_money_events(players, "new_bet", bets), _money_events(players, "new_win", wins)]


def _money_events(players: pd.DataFrame, event_type: str, events: pd.DataFrame) -> pd.DataFrame:
    return events_frame(
        players["user_id"].take(events["player"]),
        event_type,
        events["occurred_at"].to_numpy(),
        json.dumps({"currency": "EUR"}),
        events["amount"].to_numpy(),
    )
