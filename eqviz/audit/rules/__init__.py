"""What each operation of torch does to rows, columns and fibre: one rule for each, by the operation's name."""
