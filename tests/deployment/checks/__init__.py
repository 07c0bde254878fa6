"""Checks of the CloudFormation templates. Started by check.py, with the packages of requirements.txt."""
