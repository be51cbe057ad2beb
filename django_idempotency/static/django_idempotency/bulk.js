'use strict';
// Goes on by itself, so that nobody has to press the button after every few rows; without this, somebody does.
document.addEventListener('DOMContentLoaded', () => {
    const form = document.getElementById('idem-go-on');
    const stop = document.getElementById('idem-stop');
    let wanted = true;
    stop?.addEventListener('submit', () => { wanted = false; });
    setTimeout(() => {
        if (wanted) {
            form?.requestSubmit();
        }
    }, 1500);
});
