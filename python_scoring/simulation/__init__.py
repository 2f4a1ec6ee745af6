"""Simulated businesses with a known truth, written through the contract tables.

Leads land and are scored by an incumbent model; visitors of a shop click and order; players
register and bet; subscribers use an app and cancel; customers order again. What really moves them
is kept apart in the schema `simulation`, which no model reads: it is there to hold every metric
against. No entity belongs to two businesses, and what all of them deliver is equally messy.
"""

from python_scoring.simulation.businesses import Simulation, simulate
from python_scoring.simulation.plan import ExperimentPlan, plan_from_project
from python_scoring.simulation.writing import write_simulation

__all__ = ["ExperimentPlan", "Simulation", "plan_from_project", "simulate", "write_simulation"]
