// The sha256 of every wheel that set-up may download, by file name, as PyTorch's index for CPUs
// (https://download.pytorch.org/whl/cpu/torch/) lists them. A new version of libtorch in libtorch.mjs needs new lines here.

export const wheelDigests = {
  "torch-2.13.0+cpu-cp310-cp310-manylinux_2_28_aarch64.whl":
    "f028e428bddee95cdb86e2470254e95c9af629362488550c200ed4793125a817",
  "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_aarch64.whl":
    "84453b69508ec79902f899c5ed9495acb9e2bbe9fda5f1d5d6f19e3c3842e1a7",
  "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl":
    "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",
  "torch-2.13.0+cpu-cp312-cp312-manylinux_2_28_aarch64.whl":
    "6f307c2c32d764ffc6ff6893b801fad6d4752f3e67966cb8abf1843427c02604",
  "torch-2.13.0+cpu-cp312-cp312-manylinux_2_28_x86_64.whl":
    "4ca4a9394b0c771238a4f73590fdbbc4debad85ed0fa63d026ae1b085da7d6e2",
  "torch-2.13.0+cpu-cp313-cp313-manylinux_2_28_aarch64.whl":
    "0b8f7d0423027ae8b90c7977c627f3379f325363a08224dffad9b4b2d684a83d",
  "torch-2.13.0+cpu-cp313-cp313-manylinux_2_28_x86_64.whl":
    "3fbf9c9d1f3c10c2d59d04aca426dee9ccc6ceb32d255c61e93acc3b4f75fae6",
  "torch-2.13.0+cpu-cp314-cp314-manylinux_2_28_aarch64.whl":
    "ca021f9eb2f8345c83fa03e3a04587308afb8df71bd472670b3ece00df58621c",
  "torch-2.13.0+cpu-cp314-cp314-manylinux_2_28_x86_64.whl":
    "d20fa53ee744502fa4c69818a720b05ca0d37abd055d4f6e66cae155114bc691",
  "torch-2.13.0+cpu-cp314-cp314t-manylinux_2_28_aarch64.whl":
    "7b8d26e29bceafbdaa8d63bfe7612f23875b5af2cc07e13f809c3ed890bbe1d8",
  "torch-2.13.0+cpu-cp314-cp314t-manylinux_2_28_x86_64.whl":
    "b222c15a0fc2ce207d1c1a59700b46c8fa6748df1f447ad11e5c870dde0933d9",
  "torch-2.13.0+cpu-cp315-cp315-manylinux_2_28_aarch64.whl":
    "8eb5002ca81af00ae69b57540f615b58b8ae922b6d4848176b366a52bd2196e6",
  "torch-2.13.0+cpu-cp315-cp315-manylinux_2_28_x86_64.whl":
    "1a3a35229fdc13446b4eab50e7fcf9399ff941e89a3b761497786297a5d8dde5",
  "torch-2.13.0+cpu-cp315-cp315t-manylinux_2_28_aarch64.whl":
    "8e109528e6bab044815daebaf71770fbaace3a66ef1c816cb55c875350f78a60",
  "torch-2.13.0+cpu-cp315-cp315t-manylinux_2_28_x86_64.whl":
    "222a6681467cc7f6f05cd3068dfbc603def3a1e46d1d4620c1c8cdf6178bd563",
  "torch-2.13.0-cp310-cp310-macosx_14_0_arm64.whl":
    "94f0de129916f77b8dc2c7a8eff644cfeddfe59e39c9f55e9f6e17543410281d",
  "torch-2.13.0-cp311-cp311-macosx_14_0_arm64.whl":
    "e76f9bcecc52b8ff711239a2f7547d5353df95878ab232f0773c1d95928b92f8",
  "torch-2.13.0-cp312-cp312-macosx_14_0_arm64.whl":
    "2fe228aba290d14b9f31b049be550dbd469c3fd3013d7a19705b30454da97027",
  "torch-2.13.0-cp313-cp313-macosx_14_0_arm64.whl":
    "33449899ce5496c1b84b4853179d94fd102028ae1407314d9fb956bb79e70d09",
  "torch-2.13.0-cp314-cp314-macosx_14_0_arm64.whl":
    "d849b390e07d8d333ce8ecaf91b273c656c598379a19c9acf1318a883f6b391c",
  "torch-2.13.0-cp314-cp314t-macosx_14_0_arm64.whl":
    "c28def70706c2f9ecc752574766e8ae4da9b810ab6676b611166761a78a9f1e1",
};
