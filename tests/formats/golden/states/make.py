#!/usr/bin/env python3
"""Makes the golden states of this directory with OpenSSL and Python only, so that nothing of ours checks itself.

Run it in this directory. It replaces keys, objects and states; signatures differ at each run, because ECDSA is random.
"""

import base64
import hashlib
import json
import os
import shutil
import subprocess


def openssl(*args, data=None):
    return subprocess.run(["openssl", *args], input=data, check=True, capture_output=True).stdout


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def write(path, data):
    with open(path, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())


def make_key(name, kind):
    path = f"keys/{name}.key.pem"
    if kind == "RSA":
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", path)
    else:
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{kind}", "-out", path)
    openssl("pkey", "-in", path, "-pubout", "-out", f"keys/{name}.pub.pem")


def make_authority(name):
    make_key(name, "P-256")
    openssl("req", "-new", "-x509", "-key", f"keys/{name}.key.pem", "-subj", f"/CN=Golden {name}", "-days", "36500",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign",
            "-out", f"keys/{name}.crt.pem")


def make_signer(name, kind, authority, extensions="extendedKeyUsage=codeSigning\n"):
    make_key(name, kind)
    issue(name, f"keys/{name}.key.pem", authority, "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n" + extensions)


def issue(name, key, authority, extensions):
    write("ext.tmp", extensions)
    request = openssl("req", "-new", "-key", key, "-subj", f"/CN=Golden {name}")
    openssl("x509", "-req", "-CA", f"keys/{authority}.crt.pem", "-CAkey", f"keys/{authority}.key.pem", "-days", "36000",
            "-extfile", "ext.tmp", "-out", f"keys/{name}.crt.pem", data=request)
    os.remove("ext.tmp")


def fixed(der, half):
    """r and s of an ECDSA signature in DER, as two numbers of fixed length."""
    assert der[0] == 0x30 and der[1] == len(der) - 2
    at, out = 2, b""
    for _ in range(2):
        assert der[at] == 2
        length = der[at + 1]
        out += int.from_bytes(der[at + 2:at + 2 + length], "big").to_bytes(half, "big")
        at += 2 + length
    return out


def certificate(name):
    return base64.b64encode(openssl("x509", "-in", f"keys/{name}.crt.pem", "-outform", "DER")).decode()


def sign(state, select, include, exclude, signer, alg, chain, der=False, key_alg=None):
    header = {"alg": alg, "pvs": {"include": include, "exclude": exclude}, "typ": "PVS"}
    if chain:
        header["x5c"] = [certificate(name) for name in chain]
    protected = b64url(canonical(header).encode())
    payload = canonical({key: value for key, value in state.items() if select(key)})
    data = f"{protected}.{b64url(payload.encode())}".encode()
    digest = "-sha384" if alg == "ES384" else "-sha256"
    signature = openssl("dgst", digest, "-sign", f"keys/{signer}.key.pem", data=data)
    if (key_alg or alg).startswith("ES") and not der:
        signature = fixed(signature, 48 if alg == "ES384" else 32)
    return {"#spec": "pvs@2", "protected": protected, "signature": b64url(signature)}


def add_object(data):
    name = hashlib.sha256(data).hexdigest()
    write(f"objects/{name}", data)
    return name


def device(name):
    """A state with a base and two containers, before it is signed."""
    conf = (
        "lxc.tty.max = 8\nlxc.pty.max = 1024\nlxc.cgroup.devices.allow = a\n"
        f"lxc.rootfs.path = overlayfs:/volumes/{name}/root.squashfs:/volumes/{name}/lxc-overlay/upper\n"
        "lxc.init.cmd = /docker-entrypoint.sh \"nginx\"\"-g\"\"daemon off;\"\nlxc.environment = PATH=/usr/bin:/bin\n"
        "lxc.namespace.keep = user  net  ipc\nlxc.mount.auto = proc  sys:rw  cgroup\n"
        "lxc.mount.entry = /etc/resolv.conf etc/resolv.conf none bind,rw,create=file 0 0\n"
        "lxc.mount.entry = tmpfs run tmpfs rw,nodev,relatime,create=dir,mode=755 0 0\n"
        f"lxc.mount.entry = /volumes/{name}/docker--var-lib-{name} var/lib/{name} none bind,rw,create=dir 0 0\n"
    ).encode()
    image = add_object(f"not a real image of {name}\n".encode())
    state = {
        "#spec": "pantavisor-service-system@1",
        "README.md": add_object("# Grüße\n".encode()),
        f"_config/{name}/etc/{name} site.conf": add_object(b"listen 80\n"),
        f"_config/{name}/etc/dev-disk\\x2dx.mount": add_object(b"[Mount]\n"),
        "bsp/firmware.squashfs": add_object(b"not real firmware\n"),
        "bsp/kernel.img": add_object(b"not a real kernel\n"),
        "bsp/modules.squashfs": add_object(b"not real modules\n"),
        "bsp/pantavisor": add_object(b"not a real initramfs\n"),
        "bsp/run.json": {"addons": [], "firmware": "firmware.squashfs", "initrd": "pantavisor", "initrd_config": "",
                         "linux": "kernel.img", "modules": "modules.squashfs"},
        "bsp/src.json": {"#spec": "bsp-manifest-src@1"},
        "device.json": {
            "compatible": ["qemu-x86_64-grub/golden"],
            "disks": [{"aliases": ["dm-internal-secrets"], "default": "no", "name": "secrets",
                       "path": "/storage/dm-crypt-files/secrets/img.img,2,key", "type": "dm-crypt-versatile"}],
            "groups": [
                {"name": "data", "restart_policy": "system", "status_goal": "MOUNTED", "timeout": 30},
                {"name": "root", "restart_policy": "system", "status_goal": "STARTED", "timeout": 30},
                {"auto_recovery": {"max_retries": 5, "policy": "on-failure", "retry_delay": 5},
                 "description": "für Anwendungen", "name": "app", "restart_policy": "container",
                 "status_goal": "STARTED", "timeout": 30},
            ],
            "network": {"pools": {"net": {"bridge": "lxcbr0", "gateway": "10.0.3.1", "nat": True,
                                          "subnet": "10.0.3.0/24", "type": "bridge"}}},
            "volumes": {"pv--devmeta": {"disk": "secrets", "persistence": "permanent"}},
        },
        f"{name}/_dm/root.squashfs.json": {"data_device": "root.squashfs", "hash_device": "root.squashfs.hash",
                                           "root_hash": "00" * 32, "salt": "00" * 32, "type": "dm-verity",
                                           "uuid": "00000000-0000-0000-0000-000000000000"},
        f"{name}/lxc.container.conf": add_object(conf),
        f"{name}/root.squashfs": image,
        f"{name}/root.squashfs.docker-digest": add_object(b"example@sha256:00"),
        f"{name}/root.squashfs.hash": add_object(b"not a real hash tree\n"),
        f"{name}/run.json": {
            "#spec": "service-manifest-run@1", "config": "lxc.container.conf",
            "drivers": {"manual": [], "optional": [], "required": []}, "group": "app", "name": name,
            "network": {"hostname": name, "pool": "net"}, "roles": [], "root-volume": "dm:root.squashfs",
            "storage": {f"docker--var-lib-{name}": {"disk": "dm-internal-secrets", "persistence": "permanent"},
                        "lxc-overlay": {"persistence": "boot"}},
            "type": "lxc", "volumes": []},
        f"{name}/src.json": {"#spec": "service-manifest-src@1", "template": "builtin-lxc-docker"},
        "files/run.json": {"#spec": "service-manifest-run@1", "group": "data", "name": "files", "storage": {},
                           "volumes": ["share.squashfs"]},
        "files/share.squashfs": add_object(b"not a real share\n"),
    }
    return state


def below(*directories):
    return lambda key: key.startswith(tuple(f"{directory}/" for directory in directories))


def signed(name, signer, alg, chain, **more):
    """The state with three signatures, as the tools choose what each of them signs."""
    state = device(name)
    bsp = lambda key: (below("bsp")(key) and key != "bsp/src.json") or key in ("device.json", "#spec", "README.md")
    part = lambda part: lambda key: below(part, f"_config/{part}")(key) and key != f"{part}/src.json"
    signatures = {"_sigs/bsp.json": sign(state, bsp, ["bsp/**", "device.json", "#spec", "README.md"], ["bsp/src.json"],
                                         signer, alg, chain, **more)}
    for one in (name, "files"):
        signatures[f"_sigs/{one}.json"] = sign(state, part(one), [f"{one}/**", f"_config/{one}/**"],
                                               [f"{one}/src.json", f"_sigs/{one}.json"], signer, alg, chain, **more)
    return {**state, **signatures}


def main():
    for directory in ("keys", "objects"):
        shutil.rmtree(directory, ignore_errors=True)
        os.mkdir(directory)
    make_authority("ca")
    make_authority("stranger")
    make_key("middle", "P-384")
    issue("middle", "keys/middle.key.pem", "ca", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n")
    make_signer("es256", "P-256", "ca")
    make_signer("es384", "P-384", "middle")
    make_signer("rs256", "RSA", "ca")
    make_signer("noeku", "P-256", "middle", extensions="")
    openssl("ec", "-in", "keys/es256.key.pem", "-out", "keys/es256.sec1.pem")
    openssl("rsa", "-in", "keys/rs256.key.pem", "-traditional", "-out", "keys/rs256.pkcs1.pem")

    write("es256.json", canonical(signed("web", "es256", "ES256", ["es256"])))
    write("es256-der.json", canonical(signed("web", "es256", "ES256", ["es256"], der=True)))
    write("es384.json", canonical(signed("web", "es384", "ES384", ["es384", "middle"])))
    write("rs256.json", canonical(signed("web", "rs256", "RS256", ["rs256"])))
    write("keys-only.json", canonical(signed("web", "es256", "ES256", [])))
    write("noeku.json", canonical(signed("web", "noeku", "ES256", ["noeku", "middle"])))
    # The header says ES256, the signature and the certificate are RSA.
    write("wrong-alg.json", canonical(signed("web", "rs256", "ES256", ["rs256"], key_alg="RS256")))

    # As a workstation tool signs with its default patterns: `**` is any depth there, and nothing on older devices.
    state = device("web")
    whole = lambda key: not key.endswith("/src.json")
    state["_sigs/all.json"] = sign(state, whole, ["**"], ["**/src.json", "_sigs/**"], "es256", "ES256", ["es256"])
    write("doublestar.json", canonical(state))
    for name in ("ca", "middle", "stranger"):
        # Nobody needs to issue anything in the name of these again.
        os.remove(f"keys/{name}.key.pem")


main()
