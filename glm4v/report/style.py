"""The report's style sheet: system fonts, one accent, light and dark."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f5f6f9; --card: #ffffff; --ink: #182033; --soft: #5a6478; --rule: #e2e6ee; --accent: #2c56cf;
  --on-accent: #fff;
  --untrained: #c3c9d5; --pretrain: #a5bdf2; --sft: #6288e4; --rlcs: #1c3fae; --control: #d6962a;
  --good: #14805a; --bad: #b8401a; --truth: #10b981; --guess: #f43f7f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f131b; --card: #181d28; --ink: #e7ebf4; --soft: #9aa5ba; --rule: #2a3142; --accent: #86a6ff;
    --on-accent: #0f131b;
    --untrained: #4d5668; --pretrain: #3c568f; --sft: #5d82de; --rlcs: #b0c6ff; --control: #e0ac4e;
    --good: #4cc796; --bad: #f0875c;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 48px 24px 64px; max-width: 1128px; background: var(--page); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
h1 { font-size: 30px; line-height: 1.2; letter-spacing: -0.02em; font-weight: 650; margin: 0 0 8px; }
h2 { font-size: 20px; line-height: 1.3; letter-spacing: -0.01em; font-weight: 620; margin: 56px 0 4px; }
h3 { font-size: 15px; font-weight: 620; margin: 0 0 8px; }
p { margin: 0; text-wrap: pretty; }
.lead, h2 + p { color: var(--soft); max-width: 76ch; margin-bottom: 20px; }
.grid-2 { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 20px; }
.grid-3 { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); gap: 20px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(156px, 1fr)); gap: 12px; margin-top: 24px; }
.tile, figure, .card { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }
.tile { padding: 18px 18px 16px; position: relative; overflow: hidden; }
.tile::before { content: ""; position: absolute; inset: 0 0 auto; height: 4px; background: var(--mark); }
.tile b { display: block; font-size: 30px; line-height: 1.15; font-weight: 640; letter-spacing: -0.02em; }
.tile span { color: var(--soft); font-size: 13px; }
.tile b, td { font-variant-numeric: tabular-nums; }
figure { margin: 0; padding: 18px 20px; display: flex; flex-direction: column; }
figure > .lines { margin-top: auto; }
figcaption { color: var(--soft); font-size: 13.5px; line-height: 1.5; margin: 0 0 12px; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font-size: 11px; fill: var(--soft); font-family: inherit; }
svg .axis { font-style: italic; }
svg .grid { stroke: var(--rule); stroke-width: 1; }
svg .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
svg .faint { fill: none; stroke-width: 1; opacity: 0.28; stroke-linejoin: round; }
svg .heat { shape-rendering: crispEdges; }
svg .whisker { stroke: var(--ink); stroke-width: 1; opacity: 0.55; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 0 0 10px; padding: 0; }
.legend li { font-size: 13px; }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px; }
.legend i { vertical-align: -1px; }
.warnings { border: 1px solid var(--bad); border-radius: 10px; padding: 14px 20px 14px 36px; margin: 0; }
.warnings b { color: var(--bad); }
.empty { color: var(--soft); font-style: italic; }
.heats { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 230px), 1fr)); gap: 18px 14px; }
table { border-collapse: separate; border-spacing: 2px; width: 100%; font-size: 12.5px; }
th { font-weight: 500; color: var(--soft); text-align: right; padding: 0 6px 0 0; white-space: nowrap; }
thead th { text-align: center; padding: 0; }
caption { text-align: left; font-weight: 620; padding-bottom: 2px; }
td { text-align: center; border-radius: 4px; padding: 3px 0; min-width: 25px; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 250px), 1fr)); gap: 16px; }
.card { overflow: hidden; display: flex; flex-direction: column; font-size: 13.5px; }
.shot { background: var(--rule); display: flex; gap: 2px; }
.frame { position: relative; flex: 1 1 0; min-width: 0; }
.frame img { display: block; width: 100%; height: auto; image-rendering: pixelated; }
.frame svg { position: absolute; inset: 0; height: 100%; overflow: hidden; }
.single { aspect-ratio: 4 / 3; align-items: center; justify-content: center; }
.single .frame { flex: 0 1 auto; height: 100%; }
.single .frame img { height: 100%; width: auto; max-width: 100%; object-fit: contain; }
.card .body { padding: 12px 14px 14px; display: flex; flex-direction: column; gap: 6px; }
.card .where { color: var(--soft); font-size: 12px; display: flex; justify-content: space-between; }
.badge { font-weight: 620; color: var(--bad); }
.badge.right { color: var(--good); }
.question { font-weight: 600; }
.card dl { display: grid; grid-template-columns: auto 1fr; gap: 2px 10px; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
blockquote {
  margin: 2px 0 0; padding-left: 10px; border-left: 2px solid var(--rule); color: var(--soft);
  overflow-wrap: anywhere; max-height: 8em; overflow-y: auto;
}
pre { font: 12.5px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-x: auto; margin: 12px 0 0; }
details { margin-top: 12px; color: var(--soft); }
summary { cursor: pointer; }
footer { margin-top: 56px; color: var(--soft); font-size: 13px; }
@media (max-width: 560px) {
  body { padding: 28px 16px 48px; }
  h1 { font-size: 25px; }
  figure { padding: 16px 14px; }
  .tile { padding: 14px 14px 12px; }
  .tile b { font-size: 25px; }
  .tiles { grid-template-columns: repeat(2, 1fr); }
}
"""
