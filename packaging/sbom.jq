# The lists that cargo-cyclonedx made of the crates of several programs, as one list of one package, with the C $libraries that
# they are linked with. $tree is where they were made.

# Names of this machine's places are taken out of names of parts, and what only they were told apart by.
def placeless:
  walk(if type == "string"
       then gsub("path\\+file://" + $tree + "/?"; "coaming:") | sub("\\?download_url=file://[^#]*"; "")
       else . end);

map(placeless)
| . as $boms
| [$boms[].metadata.component | del(.components)] as $programs
| ($programs[0].version) as $version
| {
    bomFormat: "CycloneDX",
    specVersion: $boms[0].specVersion,
    version: 1,
    metadata: {
      timestamp: ($boms[0].metadata.timestamp | sub("\\.0+Z$"; "Z")),
      tools: $boms[0].metadata.tools,
      component: {
        type: "application",
        "bom-ref": "coaming",
        name: "coaming",
        version: $version,
        licenses: $programs[0].licenses
      }
    },
    components: ([$programs[], $boms[].components[], $libraries[]] | unique_by(.["bom-ref"])),
    dependencies: (
      [{ref: "coaming", dependsOn: ([$programs[]["bom-ref"], $libraries[]["bom-ref"]] | sort)}]
      + ([$boms[].dependencies[]]
         | group_by(.ref)
         | map({ref: .[0].ref, dependsOn: ([.[].dependsOn // [] | .[]] | unique)}))
    )
  }
