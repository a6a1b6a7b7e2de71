"""What a run has measured → `report.json` and `report.html`, beside the graph in the artifact."""
