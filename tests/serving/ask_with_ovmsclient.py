"""Asks a server with ovmsclient: python ask_with_ovmsclient.py GRPC_ADDRESS HTTP_ADDRESS FOLDER"""

import json
import sys
from pathlib import Path

import numpy as np
import ovmsclient

folder = Path(sys.argv[3])
batch = np.load(folder / "in.npy")
makers = {"grpc": ovmsclient.make_grpc_client, "http": ovmsclient.make_http_client}
told = {}
for address, (interface, make) in zip(sys.argv[1:3], makers.items(), strict=True):
    client = make(address)
    options = {"model_name": "tiny", "model_version": 1, "timeout": 60}
    np.save(folder / f"{interface}.npy", client.predict({"images": batch}, **options))
    try:
        client.predict({"images": batch}, **options | {"model_name": "none"})
    except ovmsclient.tfs_compat.base.errors.ModelNotFoundError as error:
        message = str(error)
    told[interface] = {
        "error": message,
        "status": client.get_model_status(**options),
        "metadata": client.get_model_metadata(**options),
    }
(folder / "told.json").write_text(json.dumps(told))
