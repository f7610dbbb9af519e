# Tried: nix-instantiate parses it. Not tried: a build, because it needs nixpkgs.
{
  description = "Brings ssh masters and their forwards back the moment the network changes";

  inputs.nixpkgs.url = "nixpkgs";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      each = nixpkgs.lib.genAttrs systems;
    in
    {
      packages = each (
        system:
        let
          pkgs = nixpkgs.legacyPackages.${system};
        in
        {
          default = pkgs.python3Packages.buildPythonApplication {
            pname = "trayagent";
            version = "0.1.0";
            pyproject = true;
            src = ../../..;

            # nixpkgs has its own versions of the dependencies. netifaces-plus is for macOS.
            postPatch = ''
              sed -i -E '/^ +"netifaces-plus==/d; s/"hatchling==[0-9.]+"/"hatchling"/; s/"msgspec==[0-9.]+"/"msgspec"/; /^dependencies = \[/,/^\]/ s/==[0-9.]+//' pyproject.toml
            '';

            build-system = [
              pkgs.python3Packages.hatchling
              pkgs.python3Packages.msgspec
            ];
            dependencies = with pkgs.python3Packages; [
              dbus-fast
              msgspec
              pillow
              platformdirs
              pystray
              rich
            ];
            makeWrapperArgs = [ "--suffix PATH : ${pkgs.lib.makeBinPath [ pkgs.openssh ]}" ];

            pythonImportsCheck = [ "trayagent.cli.main" ];

            meta = {
              description = "Brings ssh masters and their forwards back the moment the network changes";
              license = pkgs.lib.licenses.mit;
              mainProgram = "trayagent";
              platforms = pkgs.lib.platforms.linux;
            };
          };
        }
      );
    };
}
