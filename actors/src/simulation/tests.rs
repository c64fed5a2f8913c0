//! Given, when, then for simulations; the rules of the simulator as tables.
