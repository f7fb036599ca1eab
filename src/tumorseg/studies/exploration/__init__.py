"""A data set looked at before anybody trains on it: numbers, charts, one page and the tables behind them."""
