"""What workers share and what orders their work: state, schedule, overtaken clicks."""
