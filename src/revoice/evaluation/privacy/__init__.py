"""How anonymous speech is: attackers who try to tell who speaks, and what hiding it costs in words."""
