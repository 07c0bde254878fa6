"""A local CloudFormation, Lambda, Scheduler, EventBridge and Step Functions in front of the local AWS."""
