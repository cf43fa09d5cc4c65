"""The Helm chart, rendered by Helm's own engine and judged by the schemas of Kubernetes and by checkov.

`chart.py test GANTRY` runs all of it, with GANTRY, the binary, judging the configuration that the chart writes.
`chart.py render FOLDER VALUES` writes what the chart makes of VALUES (JSON) into FOLDER: gantry.toml, environment.json with the
variables of a replica, proxy.conf, and ingress.json with the paths and annotations of every Ingress.
"""

import copy
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib

import helm_python as helm
import kubernetes_validate
import yaml

REPOSITORY = pathlib.Path(__file__).parents[2]
CHART = REPOSITORY / "helm/gantry"
# The oldest that the chart takes, some between, and the newest that the schemas have.
VERSIONS = ("1.30.0", "1.32.0", "1.34.0", "1.36.0", "1.37.0")
# Not of Kubernetes itself.
FOREIGN = {"ServiceMonitor", "PrometheusRule"}

SMALLEST = {
    "config": {
        "auth": {"mode": "none"},
        "archive": {"main": {"ae_title": "PACS", "address": "pacs.example:104", "max_associations": 8}},
    }
}
INGRESS = {"ingress": {"enabled": True, "host": "dicom.example", "className": "any", "tlsSecretName": "dicom-tls"}}
TLS = {"certificate": "/run/secrets/gantry/tls/tls.crt", "key": "/run/secrets/gantry/tls/tls.key"}
FULL = {
    "replicas": 3,
    "image": {"repository": "registry.example/gantry", "digest": "sha256:" + "0" * 64},
    "config": {
        "default_archive": "main",
        "http": {
            "trusted_proxies": ["10.244.0.0/16"],
            "drain_timeout": "1m",
            "limits": {"max_results": 50000, "rate": 200},
        },
        "dimse": {"accept": "known", "max_associations": 32, "tls": {"listen": "0.0.0.0:2762"} | TLS},
        "auth": {
            "mode": "required",
            "tokens": {"file": "/run/secrets/gantry/tokens/tokens.toml"},
            "oidc": {"issuer": "https://login.example/realms/radiology", "audience": ["gantry"]},
            "scopes": {"radiology-read": ["search", "retrieve"]},
        },
        "ae": {
            "CT1": {"allow_from": ["10.1.0.0/16"], "allow": ["echo", "store", "normalized"]},
            "WORKSTATION": {"address": "10.1.2.3:104"},
        },
        "archive": {
            "main": {
                "address": "10.2.0.5:104",
                "max_associations": 10,
                "retrieve": "move",
                "timeouts": {"silence": "5m"},
                "store_from": [{"ae_title": "PACSSEND", "network": "10.2.1.0/24"}],
            },
            "ris": {"ae_title": "RIS", "address": "10.2.0.6:104"},
        },
        "route": [{"sop_class": "1.2.840.10008.5.1.4.31", "archive": "ris"}],
        "cache": {"memory": "256MiB", "disk": {"path": "/var/cache/gantry", "size": "10GiB"}},
        "audit": {
            "site": "St. Elsewhere",
            "spool": {"path": "/var/lib/gantry/audit"},
            "syslog": {"address": "audit.example:6514"},
        },
    },
    "secrets": [{"name": "tls", "secretName": "gantry-tls"}, {"name": "tokens", "secretName": "gantry-tokens"}],
    "service": {
        "replica": {
            "addresses": ["192.0.2.10", "192.0.2.11", "192.0.2.12"],
            "port": 104,
            "annotations": {"metallb.io/loadBalancerIPs": "$ADDRESS", "example/ordinal": "$ORDINAL"},
        },
        "dimse": {"port": 104, "loadBalancerIP": "192.0.2.9"},
    },
    "networkPolicy": {
        "http": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}],
        "metrics": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        "dimse": [{"ipBlock": {"cidr": "10.1.0.0/16"}}],
    },
    "serviceMonitor": {"enabled": True, "tokenSecret": {"name": "prometheus-token"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "dashboard": {"enabled": True},
}


def over(below, *above):
    """Values with others over them."""
    result = copy.deepcopy(below)
    for values in above:
        for key, value in values.items():
            nested = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = over(result[key], value) if nested else copy.deepcopy(value)
    return result


def rendered(values):
    """What Helm makes of the values: the objects by kind and name, and what it tells the person who installs."""
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        files = chart.render(values, name="gantry", namespace="pacs")
    notes = files.pop("gantry/templates/NOTES.txt")
    documents = [document for text in files.values() for document in yaml.safe_load_all(text) if document]
    objects = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    assert len(objects) == len(documents), "two objects of one kind and name"
    return objects, notes


def refused(values, *words):
    """The values are refused, and why is told."""
    try:
        rendered(values)
    except helm.HelmError as error:
        for word in words:
            assert word in str(error), f"{word!r} is not in: {error}"
        return
    raise AssertionError(f"taken: {values}")


def environment(stateful_set):
    """The variables of the container, by name."""
    return {each["name"]: each for each in stateful_set["spec"]["template"]["spec"]["containers"][0]["env"]}


def sources(rule):
    """The networks that a rule of a NetworkPolicy lets in or out."""
    return [peer["ipBlock"]["cidr"] for peer in rule.get("from", rule.get("to", [])) if "ipBlock" in peer]


# What every set of values is held to ------------------------------------------------------------------------------------


def kubernetes_takes_it(objects, versions):
    for (kind, name), document in objects.items():
        if kind in FOREIGN:
            continue
        for version in versions:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                raise AssertionError(f"{kind} {name} in {version}: {error.message} at {list(error.path)}") from error


def every_selector_finds_pods(objects):
    pods = []
    for (kind, _), document in objects.items():
        if kind in ("StatefulSet", "Deployment"):
            labels = document["spec"]["template"]["metadata"]["labels"]
            replicas = document["spec"]["replicas"] if kind == "StatefulSet" else 1
            container = document["spec"]["template"]["spec"]["containers"][0]
            for ordinal in range(replicas):
                name = f"{document['metadata']['name']}-{ordinal}"
                own = {"statefulset.kubernetes.io/pod-name": name} if kind == "StatefulSet" else {}
                pods.append((labels | own, {port["name"]: port["containerPort"] for port in container["ports"]}))
    for (kind, name), document in objects.items():
        if kind != "Service":
            continue
        wanted = document["spec"]["selector"].items()
        found = [ports for labels, ports in pods if wanted <= labels.items()]
        assert found, f"Service {name} selects nothing"
        for port in document["spec"]["ports"]:
            assert all(port["targetPort"] in ports for ports in found), f"Service {name}: {port}"


def gantry_takes_the_configuration(objects, gantry):
    text = objects["ConfigMap", "gantry"]["data"]["gantry.toml"]
    stateful_set = objects["StatefulSet", "gantry"]
    with tempfile.TemporaryDirectory() as folder:
        files = pathlib.Path(folder)
        # What Secrets and volumes would bring, moved to where a test may write.
        for path in ("/run/secrets/gantry", "/var/lib/gantry", "/var/cache/gantry"):
            text = text.replace(path, folder)
        (files / "tls").mkdir()
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=gantry", "-keyout", files / "tls/tls.key",
             "-out", files / "tls/tls.crt"], check=True, capture_output=True,
        )  # fmt: skip
        (files / "tokens").mkdir()
        (files / "tokens/tokens.toml").write_text("")
        (files / "gantry.toml").write_text(text)
        for ordinal in range(stateful_set["spec"]["replicas"]):
            variables = {
                name: each["value"].replace("$(POD_INDEX)", str(ordinal))
                for name, each in environment(stateful_set).items()
                if "value" in each
            }
            check = subprocess.run(
                [gantry, "check-config", "--config", files / "gantry.toml"], env=variables, capture_output=True, text=True
            )
            assert check.returncode == 0, check.stderr + text
            # The title by which clients call all replicas, and each replica's own.
            for called in ("GANTRY", f"GANTRY{ordinal}"):
                explained = subprocess.run(
                    [gantry, "check-config", "--config", files / "gantry.toml", "--explain", "PACS", called],
                    env=variables, capture_output=True, text=True,
                )  # fmt: skip
                assert "none of ours" not in explained.stdout, explained.stdout


def containers_may_nothing(objects):
    for (kind, _), document in objects.items():
        if kind not in ("StatefulSet", "Deployment"):
            continue
        pod = document["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 65532
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"]
            assert security["capabilities"] == {"drop": ["ALL"]}


def checkov_has_nothing_to_say(objects):
    checkov = pathlib.Path(sys.executable).parent / "checkov"
    passed_over = {
        "CKV_K8S_11": "a limit of CPU throttles what is to run at wire speed",
        "CKV_K8S_15": "a tag is never moved: IfNotPresent is what was meant",
        "CKV_K8S_43": "the digest is the value of who has built the image",
    }
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "all.yaml"
        path.write_text("\n---\n".join(yaml.safe_dump(document) for document in objects.values()))
        run = subprocess.run(
            [checkov, "--framework", "kubernetes", "--file", path, "--skip-check", ",".join(passed_over), "--output", "json",
             "--compact", "--quiet", "--skip-download"], capture_output=True, text=True,
        )  # fmt: skip
    report = json.loads(run.stdout)
    assert report["summary"]["resource_count"] > 5 and report["summary"]["parsing_errors"] == 0, report["summary"]
    failed = [(each["check_id"], each["resource"], each["check_name"]) for each in report["results"]["failed_checks"]]
    assert not failed, failed


# What the chart is for ---------------------------------------------------------------------------------------------------


def test_each_replica_has_a_title_and_an_address_of_its_own(objects, notes):
    variables = environment(objects["StatefulSet", "gantry"])
    assert variables["POD_INDEX"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['apps.kubernetes.io/pod-index']"
    assert variables["GANTRY_DIMSE__AE_TITLE"]["value"] == "GANTRY$(POD_INDEX)"
    # The first is where archives move to, and the variable that it is made of comes before it.
    assert variables["GANTRY_DIMSE__MOVE_AE_TITLES"]["value"].split(",")[0] == "GANTRY$(POD_INDEX)"
    assert list(variables)[0] == "POD_INDEX"
    for ordinal in range(3):
        service = objects["Service", f"gantry-{ordinal}"]["spec"]
        assert service["selector"]["statefulset.kubernetes.io/pod-name"] == f"gantry-{ordinal}"
        assert service["type"] == "LoadBalancer" and service["loadBalancerIP"] == f"192.0.2.1{ordinal}"
        assert service["externalTrafficPolicy"] == "Local" and service["publishNotReadyAddresses"] is True
        annotations = objects["Service", f"gantry-{ordinal}"]["metadata"]["annotations"]
        assert annotations == {"metallb.io/loadBalancerIPs": f"192.0.2.1{ordinal}", "example/ordinal": str(ordinal)}
        # What the PACS administrator types.
        assert re.search(rf"^  GANTRY{ordinal} +192\.0\.2\.1{ordinal} +104$", notes, re.MULTILINE), notes
    assert ("Service", "gantry-3") not in objects
    assert not any(kind == "HorizontalPodAutoscaler" for kind, _ in objects)


def test_the_cap_of_an_archive_is_divided(objects, notes):
    config = tomllib.loads(objects["ConfigMap", "gantry"]["data"]["gantry.toml"])
    assert config["archive"]["main"]["max_associations"] == 10 // 3
    assert config["archive"]["ris"]["max_associations"] == 4 // 3
    assert "main: 9 (3 for each title)" in notes and "ris: 3 (1 for each title)" in notes


def test_where_nobody_says_who_they_are_the_server_goes_by_the_names_of_service_and_ingress():
    objects, _ = rendered(over(SMALLEST, INGRESS, {"config": {"http": {"hosts": ["dicom.other"]}}}))
    config = tomllib.loads(objects["ConfigMap", "gantry"]["data"]["gantry.toml"])
    assert config["http"]["hosts"] == ["dicom.other", "gantry", "gantry.pacs", "gantry.pacs.svc", "dicom.example"]


def test_archives_reach_the_replicas_through_the_policy(objects):
    policy = objects["NetworkPolicy", "gantry"]["spec"]
    http, dimse = policy["ingress"]
    assert [port["port"] for port in dimse["ports"]] == ["dimse", "dimse-tls"]
    assert sources(dimse) == ["10.1.0.0/16", "10.2.1.0/24", "10.2.0.5/32", "10.2.0.6/32"]
    assert http["from"][0] == {"podSelector": {"matchLabels": {
        "app.kubernetes.io/name": "gantry", "app.kubernetes.io/instance": "gantry",
        "app.kubernetes.io/component": "hashing-proxy"}}}  # fmt: skip
    out = {(rule["ports"][0]["port"], tuple(sources(rule))) for rule in policy["egress"]}
    assert out == {(53, ()), (104, ("10.2.0.5/32",)), (104, ("10.2.0.6/32",)), (104, ("10.1.2.3/32",)), (6514, ()), (443, ())}


def test_what_runs_may_end(objects):
    pod = objects["StatefulSet", "gantry"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["lifecycle"]["preStop"] == {"sleep": {"seconds": 5}}
    assert pod["terminationGracePeriodSeconds"] == 5 + 4 * 60 + 5


def test_only_what_a_running_bridge_does_not_read_again_starts_it_anew(values):
    def template(*changes):
        return rendered(over(values, *changes))[0]["StatefulSet", "gantry"]["spec"]["template"]

    before = template()
    read_again = {"archive": {"main": {"ae_title": "OTHER"}}, "ae": {"CT9": {}}, "auth": {"tokens": {"file": "/other"}}}
    assert template({"config": read_again}) == before
    for kept in ({"log": {"format": "text"}}, {"http": {"drain_timeout": "2m"}}, {"dimse": {"ae_title": "OTHER"}}, {"cache": {"memory": "1GiB"}}):
        assert template({"config": kept}) != before, kept


def test_secrets_are_mounted_and_nothing_else_holds_them(objects):
    pod = objects["StatefulSet", "gantry"]["spec"]["template"]["spec"]
    mounted = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume.get("secret", {}).get("secretName") for volume in pod["volumes"]}
    assert mounted["secret-tls"] == "/run/secrets/gantry/tls" and volumes["secret-tls"] == "gantry-tls"
    assert not any(kind == "Secret" for kind, _ in objects)


def test_an_ingress_of_ingress_nginx_hashes_by_the_study(values):
    objects, _ = rendered(over(values, INGRESS, {"ingress": {"hashing": "ingress-nginx"}}))
    studies, rest = objects["Ingress", "gantry-studies"], objects["Ingress", "gantry"]
    annotations = studies["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/use-regex"] == "true"
    by = annotations["nginx.ingress.kubernetes.io/upstream-hash-by"]
    # As the controller's validator has it, and no snippet, which it refuses by default.
    assert re.fullmatch(r"[A-Za-z0-9_${}-]*", by), by
    assert not any("snippet" in key for key in annotations)
    paths = [path["path"] for path in studies["spec"]["rules"][0]["http"]["paths"]]
    for url, study in {
        "/dicom-web/studies/1.2.3/series/4.5/instances/6.7/frames/1": "1.2.3",
        "/archives/main/studies/1.2.840.1/metadata": "1.2.840.1",
        "/dicom-web/studies/1.2.3": "1.2.3",
    }.items():
        # An nginx location "~*", the first that matches.
        group = next(filter(None, (re.match(path, url, re.IGNORECASE) for path in paths)))
        assert group[int(by.removeprefix("$"))] == study
    assert not any(re.match(path, "/dicom-web/studies?limit=1") for path in paths)
    # By Service, so the other one must have none.
    backends = [each["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] for each in (studies, rest)]
    assert backends == ["gantry-studies", "gantry"]
    assert "nginx.ingress.kubernetes.io/upstream-hash-by" not in rest["metadata"]["annotations"]
    assert not any(name.endswith("proxy") for _, name in objects)
    return objects


def test_one_replica_wants_no_hashing():
    objects, _ = rendered(over(SMALLEST, INGRESS, {"replicas": 1}))
    assert not any(name.endswith("proxy") or "-http-" in name for _, name in objects)
    return objects


def test_alerts_and_dashboard_are_those_beside_the_chart(objects):
    rule, dashboard = objects["PrometheusRule", "gantry"], objects["ConfigMap", "gantry-dashboard"]
    assert rule["spec"] == yaml.safe_load((CHART / "alerts.yaml").read_text())
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    assert json.loads(dashboard["data"]["gantry.json"]) == json.loads((CHART / "dashboards/gantry.json").read_text())
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    without, _ = rendered(SMALLEST)
    assert not {("PrometheusRule", "gantry"), ("ConfigMap", "gantry-dashboard")} & set(without)


def test_probes_speak_what_the_server_speaks():
    with_tls = {"config": {"http": {"tls": TLS}}, "secrets": [{"name": "tls", "secretName": "t"}]}
    for values, expected in (
        (SMALLEST, {"path": "/health/ready", "port": "http", "scheme": "HTTP"}),
        (over(SMALLEST, with_tls), {"path": "/health/ready", "port": "http", "scheme": "HTTPS"}),
    ):
        container = rendered(values)[0]["StatefulSet", "gantry"]["spec"]["template"]["spec"]["containers"][0]
        assert container["readinessProbe"]["httpGet"] == expected
    shown = over(with_tls, {"config": {"http": {"tls": {"client_certificates": "required", "client_ca": TLS["certificate"]}}}})
    container = rendered(over(SMALLEST, shown))[0]["StatefulSet", "gantry"]["spec"]["template"]["spec"]["containers"][0]
    assert container["livenessProbe"]["tcpSocket"] == {"port": "http"}


def test_what_cannot_work_is_refused_with_its_reason():
    refused({}, "config.archive")
    refused(over(SMALLEST, {"config": {"auth": {}}}) | {"config": {"archive": SMALLEST["config"]["archive"]}}, "config.auth")
    refused(over(SMALLEST, {"replicas": 9}), "config.archive.main.max_associations", "8 for 9 replicas")
    refused(over(SMALLEST, {"replicas": 0}), "replicas")
    refused(over(SMALLEST, {"config": {"dimse": {"ae_title": "GANTRYGANTRYGANT"}}}), "16 characters")
    refused(over(SMALLEST, {"config": {"dimse": {"move_ae_titles": ["X"]}}}), "move_ae_titles")
    refused(over(SMALLEST, {"config": {"http": {"listen": "127.0.0.1:8080"}}}), "from within the pod")
    refused(over(SMALLEST, {"service": {"replica": {"addresses": ["192.0.2.1"]}}}), "1 for 2 replicas")
    refused(over(SMALLEST, {"terminationGracePeriodSeconds": 30}), "drain_timeout")
    refused(over(SMALLEST, {"ingress": {"enabled": True}}), "ingress.host")
    refused(over(SMALLEST, {"ingress": {"hashing": "magic"}}), "hashing")
    refused(over(SMALLEST, {"networkPolicy": {"dimse": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}}), "networkPolicy.archives")
    refused(over(SMALLEST, INGRESS, {"serviceMonitor": {"enabled": True}}), "networkPolicy.metrics")
    refused(over(SMALLEST, {"replica": 3}), "replica")
    refused(over(SMALLEST, {"config": {"http": {"lisen": "0.0.0.0:8080"}}}), "lisen")
    refused(over(SMALLEST, {"config": {"archive": {"main": {"max_associations": "8"}}}}), "max_associations")
    refused(over(SMALLEST, INGRESS, {"config": {"http": {"tls": TLS}}}), "upstreamTls")


def test_helm_lint_has_nothing_to_say(values):
    report = helm.lint(CHART, values, strict=True, kube_version="v1.30.0")
    said = [message for message in report["messages"] if message["severity"] > 1]
    assert not said and not report["errors"], report


def test_the_schema_has_the_documented_keys():
    subprocess.run([sys.executable, REPOSITORY / "helm/schema.py", "--check"], check=True)


def test(gantry):
    test_the_schema_has_the_documented_keys()
    full = over(SMALLEST, FULL)
    objects, notes = rendered(over(full, INGRESS))
    test_each_replica_has_a_title_and_an_address_of_its_own(objects, notes)
    test_the_cap_of_an_archive_is_divided(objects, notes)
    test_where_nobody_says_who_they_are_the_server_goes_by_the_names_of_service_and_ingress()
    test_archives_reach_the_replicas_through_the_policy(objects)
    test_what_runs_may_end(objects)
    test_only_what_a_running_bridge_does_not_read_again_starts_it_anew(full)
    test_secrets_are_mounted_and_nothing_else_holds_them(objects)
    test_what_cannot_work_is_refused_with_its_reason()
    test_alerts_and_dashboard_are_those_beside_the_chart(objects)
    test_probes_speak_what_the_server_speaks()
    test_helm_lint_has_nothing_to_say(SMALLEST)
    test_helm_lint_has_nothing_to_say(over(full, INGRESS))
    variants = {
        "full": objects,
        "smallest": rendered(SMALLEST)[0],
        "one": test_one_replica_wants_no_hashing(),
        "ingress-nginx": test_an_ingress_of_ingress_nginx_hashes_by_the_study(full),
        "node ports": rendered(over(SMALLEST, {"service": {"replica": {"type": "NodePort", "nodePorts": [30104, 30105]}}}))[0],
        "nothing kept": rendered(over(SMALLEST, {"persistence": {"enabled": False}, "networkPolicy": {"enabled": False}}))[0],
    }
    for name, objects in variants.items():
        try:
            # All versions for the one that has everything, the first and the last for the others.
            kubernetes_takes_it(objects, VERSIONS if name == "full" else (VERSIONS[0], VERSIONS[-1]))
            every_selector_finds_pods(objects)
            containers_may_nothing(objects)
            gantry_takes_the_configuration(objects, gantry)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
    checkov_has_nothing_to_say(variants["full"])
    print(f"{len(variants)} sets of values, {len(VERSIONS)} versions of Kubernetes")


def render(folder, values):
    objects, _ = rendered(over(SMALLEST, json.loads(values)))
    folder = pathlib.Path(folder)
    (folder / "gantry.toml").write_text(objects["ConfigMap", "gantry"]["data"]["gantry.toml"])
    variables = environment(objects["StatefulSet", "gantry"])
    fixed = {name: each["value"] for name, each in variables.items() if "value" in each}
    (folder / "environment.json").write_text(json.dumps(fixed))
    if ("ConfigMap", "gantry-proxy") in objects:
        (folder / "proxy.conf").write_text(objects["ConfigMap", "gantry-proxy"]["data"]["nginx.conf"])
    ingresses = [
        {"annotations": each["metadata"].get("annotations", {}), "paths": each["spec"]["rules"][0]["http"]["paths"]}
        for (kind, _), each in objects.items()
        if kind == "Ingress"
    ]
    (folder / "ingress.json").write_text(json.dumps(ingresses))


if __name__ == "__main__":
    {"test": test, "render": render}[sys.argv[1]](*sys.argv[2:])
