"""A local AWS for tests and the demo: moto with EBS snapshots that behave like EC2's. See ../README.md."""
