"""Checks container/compose.yaml and container/kubernetes/*.yaml: manifests.py CONTAINER-DIRECTORY

Schemas first (Kubernetes' own, unknown fields refused; the Compose specification's), then what no schema knows: every name
that is referred to is there, the probes ask for paths that are served, and nobody has more rights than needed. Prints what
it found right, a line each, starting with "ok".
"""

import pathlib
import re
import sys

import compose_spec
import kubernetes_validate
import yaml

SERVED = {"/livez", "/readyz"}


def pod_specs(documents):
    for document in documents:
        if document["kind"] == "Pod":
            yield document["spec"]
        elif "template" in document.get("spec", {}):
            yield document["spec"]["template"]["spec"]


def check_probes(container, ports):
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(name)
        if probe is None:
            continue
        if "httpGet" in probe:
            assert probe["httpGet"]["path"] in SERVED, f"{name} asks for {probe['httpGet']['path']}"
            assert probe["httpGet"]["port"] in ports, f"{name} asks an unknown port"
        else:
            assert probe["exec"]["command"][:2] == ["worker-entrypoint", "healthcheck"], probe
    # A worker that only waits for its store must not be killed: it may hold edits that nobody else has.
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def check_pod(spec, names):
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    for volume in volumes.values():
        if "secret" in volume:
            assert ("Secret", volume["secret"]["secretName"]) in names, volume
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["terminationGracePeriodSeconds"] >= 60, "less than the runtime's grace and the last flush take"
    if "serviceAccountName" in spec:
        assert ("ServiceAccount", spec["serviceAccountName"]) in names
    probed = 0
    for container in spec.get("initContainers", []) + spec["containers"]:
        for mount in container["volumeMounts"]:
            assert mount["name"] in volumes, f"{mount['name']} is no volume"
        for source in container.get("envFrom", []):
            assert ("Secret", source["secretRef"]["name"]) in names, source
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
        variables = {variable["name"]: variable["value"] for variable in container.get("env", [])}
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        if "livenessProbe" in container:
            check_probes(container, ports)
            probed += 1
            assert variables["HICLAW_HEALTH_LISTEN"] == f"0.0.0.0:{ports['health']}"
        for name in ("HICLAW_AUTH_TOKEN_FILE", "HICLAW_WORKER_ENV_MOUNT_DIR"):
            places = [mount["mountPath"] for mount in container["volumeMounts"]]
            assert name not in variables or any(variables[name].startswith(place) for place in places), name
        command = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
        assert command is None or command[0] == "hiclaw-sync", command
    assert probed == 1, "one container of a pod is the worker"


def kubernetes(directory):
    files = sorted(directory.glob("*.yaml"))
    assert files, f"nothing in {directory}"
    for file in files:
        documents = list(yaml.safe_load_all(file.read_text()))
        for document in documents:
            kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
        names = {(document["kind"], document["metadata"]["name"]) for document in documents}
        pods = list(pod_specs(documents))
        assert len(pods) == 1, f"{file.name} has {len(pods)} pods"
        check_pod(pods[0], names)
        print(f"ok {file.name}: {', '.join(document['kind'] for document in documents)}")


def compose(file):
    # As Compose does it: the default, or a value where none is given.
    text = re.sub(r"\$\{\w+(?::-([^}]*)|:\?[^}]*)?\}", lambda found: found[1] or "given", file.read_text())
    document = yaml.safe_load(text)
    compose_spec.PyOptions().from_yaml(text)
    services = document["services"]
    targets = {line.split()[-1] for line in (file.parent / "Containerfile").read_text().splitlines() if line.startswith("FROM ")}
    for name, service in services.items():
        assert set(service.get("depends_on", [])) <= set(services), name
        if "build" in service:
            assert service["build"]["target"] in targets, f"{service['build']['target']} is no stage"
            assert (file.parent / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in document["volumes"] or (file.parent / source).is_file(), volume
    print(f"ok {file.name}: {', '.join(services)}")


if __name__ == "__main__":
    container = pathlib.Path(sys.argv[1])
    compose(container / "compose.yaml")
    kubernetes(container / "kubernetes")
