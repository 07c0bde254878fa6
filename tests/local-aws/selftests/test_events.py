"""EBS events, rules, and the functions behind them."""

from __future__ import annotations

import json
from typing import Any

from .support import MEMBER, OTHER, REGION, VAULT, Case, FakeFunction, client, control, until


class Events(Case):
    def setUp(self) -> None:
        super().setUp()
        self.function = FakeFunction(0.05)
        self.addCleanup(self.function.close)
        control("POST", "functions", {"copy": [self.function.url]})
        self.rule(VAULT, REGION, {"event": ["shareSnapshot"], "result": ["succeeded"]})

    def rule(
        self,
        account: str,
        region: str,
        detail: dict[str, Any],
        target: str = "copy",
        name: str = "r",
        **more: Any,
    ) -> None:
        events = client("events", account, region)
        pattern = {"source": ["aws.ec2"], "detail-type": ["EBS Snapshot Notification"], "detail": detail}
        events.put_rule(Name=name, EventPattern=json.dumps(pattern))
        arn = f"arn:aws:lambda:{region}:{account}:function:{target}"
        events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": arn, **more}])

    def rest(self, wait: str = "settled") -> list[dict[str, Any]]:
        answer = control("GET", f"deliveries?wait={wait}&timeout=20")
        self.assertTrue(answer["idle"])
        return answer["deliveries"]

    def test_share_reaches_the_vaults_function(self) -> None:
        snapshot = self.snapshot()
        self.share(snapshot)
        self.share(snapshot)  # already shared: no second event
        (delivery,) = self.rest()
        event = delivery["event"]
        arn = f"arn:aws:ec2::{REGION}:snapshot/{snapshot}"
        self.assertEqual(
            (event["account"], event["region"], event["source"], event["detail-type"]),
            (VAULT, REGION, "aws.ec2", "EBS Snapshot Notification"),
        )
        self.assertEqual(event["resources"], [arn])
        self.assertEqual(
            {k: event["detail"][k] for k in ("event", "result", "snapshot_id", "source")},
            {"event": "shareSnapshot", "result": "succeeded", "snapshot_id": arn, "source": MEMBER},
        )
        self.assertRegex(event["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual(self.function.events, [event])
        self.assertEqual(
            (delivery["answer"], delivery["function_error"], delivery["status"]), ({"ok": True}, False, 200)
        )
        self.assertLessEqual(delivery["queued_at"], delivery["started_at"])
        self.assertLess(delivery["started_at"], delivery["finished_at"])

    def test_create_and_copy_are_told(self) -> None:
        self.rule(MEMBER, REGION, {"event": ["createSnapshot", "copySnapshot"]})
        self.rule(MEMBER, OTHER, {"event": ["copySnapshot"]})
        control("POST", "config", {"copy_seconds": 0.2})
        volume = self.volume()
        snapshot = self.snapshot(volume)
        copy = client("ec2", MEMBER, OTHER).copy_snapshot(SourceRegion=REGION, SourceSnapshotId=snapshot)[
            "SnapshotId"
        ]
        ghost = f"arn:aws:kms:{OTHER}:{MEMBER}:key/11111111-2222-3333-4444-555555555555"
        client("ec2", MEMBER, OTHER).copy_snapshot(
            SourceRegion=REGION, SourceSnapshotId=snapshot, Encrypted=True, KmsKeyId=ghost
        )
        details = [d["event"]["detail"] for d in self.rest()]
        told = sorted((d["event"], d["result"], d["cause"], d["source"].split(":", 3)[-1]) for d in details)
        self.assertEqual(
            told,
            [
                (
                    "copySnapshot",
                    "failed",
                    "Given key ID is not accessible",
                    f":{REGION}:snapshot/{snapshot}",
                ),
                ("copySnapshot", "succeeded", "", f":{REGION}:snapshot/{snapshot}"),
                ("createSnapshot", "succeeded", "", f":{REGION}:volume/{volume}"),
            ],
        )
        self.assertIn(copy, {d["snapshot_id"].split("/")[-1] for d in details})

    def test_either_pattern(self) -> None:
        full = [{"incremental": ["false", False]}, {"Incremental": ["False"]}]
        self.rule(MEMBER, OTHER, {"event": ["copySnapshot"], "result": ["succeeded"], "$or": full})
        volume, there = self.volume(), client("ec2", MEMBER, OTHER)
        wanted = {"SourceRegion": REGION, "SourceSnapshotId": self.snapshot(volume)}
        first = there.copy_snapshot(**wanted)["SnapshotId"]
        self.rest()
        there.copy_snapshot(**wanted)
        (delivery,) = self.rest()
        self.assertTrue(delivery["event"]["detail"]["snapshot_id"].endswith(first))
        for detail in ({"Incremental": "False"}, {"incremental": False}, {"Incremental": "True"}, {}):
            detail |= {"event": "copySnapshot", "result": "succeeded"}
            control("POST", "emit", {"account": MEMBER, "region": OTHER, "detail": detail})
        self.assertEqual(len(self.rest()), 3)

    def test_one_at_a_time_for_a_process(self) -> None:
        second = FakeFunction(0.05)
        self.addCleanup(second.close)
        control("POST", "functions", {"copy": [self.function.url, second.url]})
        for snapshot in [self.snapshot() for _ in range(12)]:
            self.share(snapshot)
        self.assertEqual(len(self.rest()), 12)
        self.assertEqual((self.function.overlaps, second.overlaps), (0, 0))
        self.assertGreater(min(len(self.function.events), len(second.events)), 2)

    def test_knobs(self) -> None:
        control("POST", "config", {"duplicate_events": 2})
        self.share(self.snapshot())
        self.assertEqual(len(self.rest()), 3)
        control("POST", "config", {"duplicate_events": 0, "drop_events": 1})
        control("DELETE", "deliveries")
        self.rule(VAULT, REGION, {"event": ["shareSnapshot"]})
        lost, found = self.snapshot(), self.snapshot()
        self.rest()
        control("DELETE", "deliveries")
        control("POST", "config", {"drop_events": 1})
        self.share(lost)
        self.share(found)
        told = [d["event"]["detail"]["snapshot_id"].split("/")[-1] for d in self.rest()]
        self.assertEqual(told, [found])
        history = control("GET", "events")["events"]
        self.assertEqual(sum(e["dropped"] for e in history), 2)

    def test_function_errors(self) -> None:
        self.function.answers = [
            (200, '{"errorType": "ActionsFailed", "errorMessage": "m"}'),
            (200, "Task timed out after 5.00 seconds"),
            (502, '{"errorType": "Runtime.ExitError"}'),
        ]
        for _ in range(4):
            self.share(self.snapshot())
        found = self.rest()
        self.assertEqual([d["function_error"] for d in found], [True, True, True, False])
        self.assertEqual(found[0]["answer"]["errorType"], "ActionsFailed")
        control("POST", "config", {"async_retries": 2, "async_retry_seconds": 0.05})
        self.function.answers = [(200, '{"errorType": "E", "errorMessage": "m"}')] * 5
        self.share(self.snapshot())
        self.assertEqual([d["attempt"] for d in self.rest()][4:], [1, 2, 3])

    def test_emit_to_a_rule(self) -> None:
        events = client("events", VAULT)
        events.put_rule(Name="sweep", ScheduleExpression="rate(1 hour)")
        arn = f"arn:aws:lambda:{REGION}:{VAULT}:function:copy"
        events.put_targets(Rule="sweep", Targets=[{"Id": "1", "Arn": arn}])
        self.share(self.snapshot())
        self.assertEqual(len(self.rest()), 1, "a schedule must not match events")
        sent = control(
            "POST",
            "emit",
            {
                "account": VAULT,
                "region": REGION,
                "rule": "sweep",
                "source": "aws.events",
                "detail-type": "Scheduled Event",
                "time": "2026-11-22T02:00:00Z",
                "times": 2,
            },
        )
        found = self.rest()[1:]
        self.assertEqual([d["event"] for d in found], [sent, sent])
        self.assertEqual(sent["time"], "2026-11-22T02:00:00Z")

    def test_invoke(self) -> None:
        answer = control("POST", "invoke", {"function": "copy", "event": {"a": 1}})
        self.assertEqual((answer["answer"], answer["event"]), ({"ok": True}, {"a": 1}))
        self.function.answers = [(200, '{"errorType": "E", "errorMessage": "m"}')]
        through = client("lambda", VAULT).invoke(FunctionName="copy", Payload=b"{}")
        self.assertEqual(
            (through["FunctionError"], json.loads(through["Payload"].read())["errorType"]), ("Unhandled", "E")
        )
        self.assertEqual(
            client("lambda").invoke(FunctionName="copy", InvocationType="Event")["StatusCode"], 202
        )
        self.rest()
        self.refused("ResourceNotFoundException", client("lambda").invoke, FunctionName="ghost")

    def test_other_targets(self) -> None:
        sqs = client("sqs", VAULT)
        queue = sqs.create_queue(QueueName="q")["QueueUrl"]
        arn = f"arn:aws:sqs:{REGION}:{VAULT}:q"
        client("events", VAULT).put_targets(
            Rule="r",
            Targets=[
                {"Id": "1", "Arn": arn},
                {
                    "Id": "2",
                    "Arn": f"arn:aws:lambda:{REGION}:{VAULT}:function:copy",
                    "InputTransformer": {
                        "InputPathsMap": {"id": "$.detail.snapshot_id"},
                        "InputTemplate": '{"snapshot": "<id>"}',
                    },
                },
            ],
        )
        snapshot = self.snapshot()
        self.share(snapshot)
        self.assertTrue(self.rest()[0]["event"]["snapshot"].endswith(snapshot))
        message = until(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))[0]
        self.assertEqual(json.loads(message["Body"])["account"], VAULT)
        entry = {"Source": "mine", "DetailType": "d", "Detail": "{}"}
        self.assertEqual(client("events", VAULT).put_events(Entries=[entry])["FailedEntryCount"], 0)

    def test_a_state_machine_calls_both(self) -> None:
        states = client("stepfunctions", VAULT)
        definition = {
            "StartAt": "A",
            "States": {
                "A": {
                    "Type": "Task",
                    "Resource": "arn:aws:states:::aws-sdk:ec2:describeSnapshots",
                    "Parameters": {"OwnerIds": ["self"]},
                    "ResultPath": "$.seen",
                    "Next": "B",
                },
                "B": {
                    "Type": "Task",
                    "Resource": "arn:aws:states:::lambda:invoke",
                    "Parameters": {
                        "FunctionName": f"arn:aws:lambda:{REGION}:{VAULT}:function:copy",
                        "Payload.$": "$.seen",
                    },
                    "End": True,
                },
            },
        }
        role = f"arn:aws:iam::{VAULT}:role/states"
        machine = states.create_state_machine(name="m", definition=json.dumps(definition), roleArn=role)
        mine = self.snapshot(
            control("POST", "seed", {"account": VAULT, "region": REGION})["volumes"][0], self.vault
        )
        run = states.start_execution(stateMachineArn=machine["stateMachineArn"], input="{}")["executionArn"]
        done = until(
            lambda: (d := states.describe_execution(executionArn=run))["status"] != "RUNNING" and d, 20
        )
        self.assertEqual(done["status"], "SUCCEEDED", done)
        self.assertEqual([s["SnapshotId"] for s in self.function.events[-1]["Snapshots"]], [mine])
