"""Notebooks for the comparison: the sources of their cells, each with its tag if it has one."""

NOTEBOOKS: dict[str, list[str | tuple[str, str]]] = {
    "streams and results": [
        "print('out', flush=True)\nimport sys\nprint('err', file=sys.stderr, flush=True)\nprint('again')\n'result'",
        "for n in range(3): print(n, end='\\r')",
        "import subprocess\nprint(subprocess.run(['echo', 'from a child'], capture_output=True, text=True).stdout)",
        "!echo shell",
        "print('grüße 日本語 🎉 e\\u0301', '\\x00\\x07'); 'é', b'\\xff'",
        "",
        "# only a comment",
        "x = 1;",
        "_",
        "%%capture caught\nprint('not shown')",
        "print(caught.stdout)",
        "import threading\nthread = threading.Thread(target=print, args=['of a thread'])\nthread.start(); thread.join()",
        "go, done = threading.Event(), threading.Event()\n"
        "def late(): go.wait(); print('late', flush=True); done.set()\n"
        "threading.Thread(target=late).start()\nprint('started')",
        "go.set(); done.wait(5); print('joined')",
        "await __import__('asyncio').sleep(0.01); 'awaited'",
        "sum?",
    ],
    "clearing and updating": [
        "from IPython.display import clear_output, display\nprint('gone'); clear_output(); print('kept')",
        "print('gone'); clear_output(wait=True); print('kept')",
        "print('kept'); clear_output(wait=True)",
        "for n in range(5):\n    clear_output(wait=True)\n    display(n)",
        "print('gone', flush=True); display('gone'); clear_output(wait=True); 'result'",
        "handle = display('first', display_id='here')\ndisplay('between')",
        "display('second', display_id='here')",
        "handle.update('third')",
        "own = display({'text/plain': 'a', 'text/html': '<b>a</b>'}, raw=True, display_id=True)\n"
        "own.update({'text/plain': 'b'}, raw=True)",
        "clear_output(); display('fourth', display_id='here'); clear_output()",
        "handle.update('fifth')",
    ],
    "media": [
        "from IPython.display import *\ndisplay(HTML('<b>bold</b>'), Markdown('*m*'), Latex('$x$'), JSON({'a': [1]}))",
        'SVG(\'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="4"/></svg>\')',
        "display(Image(data=bytes.fromhex('89504e470d0a1a0a') + b'x' * 200_000, format='png', width=10))",
        "Javascript('1'), Pretty('pretty')",
        "display({'application/vnd.test+json': {'a': 1}, 'text/plain': 't'}, metadata={'m': {'k': 1}}, raw=True)",
        "class Rich:\n    def _repr_html_(self): return '<i>rich</i>'\n    def __repr__(self): return 'plain'\nRich()",
        "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nprint('before the figure')",
        "fig, axes = plt.subplots()\naxes.bar(['a'], [1])\nplt.show()\nprint('after the figure')\nfig",
    ],
    "errors": [
        ("1 / 0", "raises-exception"),
        (
            "def f(n):\n    return f(n - 1) if n else int('x')\nprint('before', flush=True)\nf(3)",
            "raises-exception",
        ),
        ("if True:", "raises-exception"),
        ("raise SystemExit(3)", "raises-exception"),
        ("raise ExceptionGroup('several', [ValueError(1), TypeError('é')])", "raises-exception"),
        ("import signal, os, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(5)", "raises-exception"),
        ("raise RuntimeError('never run')", "skip-execution"),
        "print('goes on')",
    ],
    "output widgets": [
        "import ipywidgets as w\nfrom IPython.display import clear_output, display\nout = w.Output()\nout",
        "with out:\n    print('caught')\n    display('shown', display_id='inside')\nprint('not caught')",
        "with out:\n    print('more')\n    1 / 0",
        "len(out.outputs), out.outputs[0]['text']",
        "inner, outer = w.Output(), w.Output()\n"
        "with outer:\n    print('outer')\n    with inner:\n        print('inner')\n    print('outer again')",
        "again = w.Output()\nfor n in range(3):\n    with again:\n        clear_output(wait=True)\n        print(n)\n"
        "with inner:\n    clear_output()",
        "slider = w.IntSlider(value=3, description='n')\ndisplay(slider)\nslider.value = 5",
        "@w.interact(n=(0, 5))\ndef show(n): print('interacted', n)",
        "slider.close()",
    ],
}
