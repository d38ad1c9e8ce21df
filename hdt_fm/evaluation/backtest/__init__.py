"""One backtest for every forecast of a series: the same origins for all, people held out, nothing made up is scored."""
